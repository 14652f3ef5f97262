// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/packages-operator/packages-operator/registry/audit"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// auditLines collect an audit log. Each takes a while to be written.
type auditLines struct {
	mu    sync.Mutex
	lines []string
	takes time.Duration
}

func (l *auditLines) Write(p []byte) (int, error) {
	time.Sleep(l.takes)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = slices.AppendSeq(l.lines, strings.Lines(string(p)))
	return len(p), nil
}

// entries are those written so far.
func (l *auditLines) entries(t *testing.T) []audit.Entry {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]audit.Entry, len(l.lines))
	for i, line := range l.lines {
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&list[i]); err != nil || !strings.HasSuffix(line, "}\n") || strings.Count(line, "\n") != 1 {
			t.Fatalf("this is no entry: %q: %v", line, err)
		}
	}
	return list
}

// startAudited runs a registry whose audit log is collected.
func startAudited(t *testing.T, lines *auditLines, o registrytest.Options) (*registrytest.Registry, client) {
	t.Helper()
	log, err := audit.Open("-", lines, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	o.Audit = log
	r := registrytest.Start(t, samplePolicy(), o)
	t.Cleanup(func() { // before the registry stops, which needs it no more
		r.Stop(t)
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, client{t: t, addr: r.Addr, value: writerValue}
}

func TestTheAuditLogTellsWhoDidWhat(t *testing.T) {
	lines := &auditLines{}
	r, c := startAudited(t, lines, registrytest.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	owner, anonymous := c.as(ownerValue), c.as("")
	const other = "octocat/octo-public/mounted"
	config := c.pushBlob(name, []byte("{}"))
	content, uploads := []byte("layer"), "/v2/"+name+"/blobs/uploads/"
	layer := ref.SHA256.FromBytes(content)
	m := image(config, layer, "")
	digest, tagged := ref.SHA256.FromBytes(m), "/v2/"+name+"/manifests/1.0"
	typed := header{"Content-Type", manifest.OCIManifest}
	readOnly := samplePolicy()
	readOnly.Support = policy.SupportReadOnly
	disabled := samplePolicy()
	disabled.Support = policy.SupportDisabled
	var location string

	who := func(user string, value string, e audit.Entry) audit.Entry {
		e.User, e.Token, e.TokenID = user, user+"-token", credential.ID(value)
		return e
	}
	writer := func(e audit.Entry) audit.Entry { return who("monalisa", writerValue, e) }
	steps := []struct {
		what string
		do   func() answer
		// want is the entry, but for what every entry has; nil for none.
		want []audit.Entry
	}{
		{"the challenge that every client begins with", func() answer { return anonymous.do("GET", "/v2/", nil) },
			[]audit.Entry{{Action: audit.Login, Outcome: audit.Denied, Route: "Version", Status: 401, Code: "UNAUTHORIZED"}}},
		{"a credential that is accepted", func() answer { return c.do("GET", "/v2/", nil) }, nil},
		{"a wrong one", func() answer { return c.as("wrong").do("GET", "/v2/", nil) },
			[]audit.Entry{{Action: audit.Login, Outcome: audit.Denied, Route: "Version", Status: 401, Code: "UNAUTHORIZED"}}},
		{"a bearer token", func() answer { return c.do("GET", "/token?scope=repository:"+name+":pull", nil) },
			[]audit.Entry{writer(audit.Entry{Action: audit.Login, Outcome: audit.Allowed, Route: "Token", Status: 200})}},
		{"no bearer token", func() answer { return c.as("wrong").do("GET", "/token", nil) },
			[]audit.Entry{{Action: audit.Login, Outcome: audit.Denied, Route: "Token", Status: 401, Code: "UNAUTHORIZED"}}},
		{"a senseless token request", func() answer { return c.do("GET", "/token?scope=nonsense", nil) },
			[]audit.Entry{{Action: audit.Login, Outcome: audit.Failed, Route: "Token", Status: 400, Code: "UNSUPPORTED"}}},

		{"an upload begins", func() answer {
			a := c.do("POST", uploads, nil)
			location = a.Header.Get("Location")
			return a
		}, []audit.Entry{writer(audit.Entry{Action: audit.Upload, Outcome: audit.Allowed, Route: "UploadStart", Status: 202, Name: name})}},
		{"a chunk of it", func() answer { return c.do("PATCH", location, content[:2]) },
			[]audit.Entry{writer(audit.Entry{Action: audit.Upload, Outcome: audit.Allowed, Route: "UploadChunk", Status: 202, Name: name, Bytes: 2})}},
		{"how far it is", func() answer { return c.do("GET", location, nil) }, nil},
		{"it is another's", func() answer { return owner.do("PATCH", location, content[2:]) },
			[]audit.Entry{who("octocat", ownerValue, audit.Entry{Action: audit.Upload, Outcome: audit.Failed, Route: "UploadChunk", Status: 404, Code: "BLOB_UPLOAD_UNKNOWN", Name: name})}},
		{"a wrong digest", func() answer { return c.do("PUT", location+"?digest="+string(digest), content[2:]) },
			[]audit.Entry{writer(audit.Entry{Action: audit.Push, Outcome: audit.Failed, Route: "UploadFinish", Status: 400, Code: "DIGEST_INVALID",
				Name: name, Reference: string(digest), Digest: string(digest), Bytes: 5})}},
		{"its end", func() answer { return c.do("PUT", location+"?digest="+string(layer), content[2:]) },
			[]audit.Entry{writer(audit.Entry{Action: audit.Push, Outcome: audit.Allowed, Route: "UploadFinish", Status: 201,
				Name: name, Reference: string(layer), Digest: string(layer), Bytes: 5})}},
		{"a blob in one request", func() answer { return c.do("POST", uploads+"?digest="+string(layer), content) },
			[]audit.Entry{writer(audit.Entry{Action: audit.Push, Outcome: audit.Allowed, Route: "UploadStart", Status: 201,
				Name: name, Reference: string(layer), Digest: string(layer), Bytes: 5})}},
		{"an upload is given up", func() answer {
			return c.do("DELETE", c.do("POST", uploads, nil).Header.Get("Location"), nil)
		}, []audit.Entry{
			writer(audit.Entry{Action: audit.Upload, Outcome: audit.Allowed, Route: "UploadStart", Status: 202, Name: name}),
			writer(audit.Entry{Action: audit.Cancel, Outcome: audit.Allowed, Route: "UploadCancel", Status: 204, Name: name}),
		}},
		{"a mount", func() answer {
			return c.do("POST", "/v2/"+other+"/blobs/uploads/?mount="+string(layer)+"&from="+name, nil)
		}, []audit.Entry{writer(audit.Entry{Action: audit.Mount, Outcome: audit.Allowed, Route: "UploadStart", Status: 201, Name: other, Digest: string(layer), From: name})}},
		{"a mount of nothing", func() answer {
			return c.do("POST", "/v2/"+other+"/blobs/uploads/?mount="+string(digest)+"&from="+name, nil)
		}, []audit.Entry{writer(audit.Entry{Action: audit.Upload, Outcome: audit.Allowed, Route: "UploadStart", Status: 202, Name: other})}},

		{"a manifest that lacks a blob", func() answer {
			return c.do("PUT", tagged, image(config, digest, ""), typed)
		}, []audit.Entry{writer(audit.Entry{Action: audit.Push, Outcome: audit.Failed, Route: "ManifestPut", Status: 404, Code: "MANIFEST_BLOB_UNKNOWN",
			Name: name, Reference: "1.0", Digest: string(ref.SHA256.FromBytes(image(config, digest, ""))), Bytes: int64(len(m))})}},
		{"a manifest", func() answer { return c.do("PUT", tagged, m, typed) },
			[]audit.Entry{writer(audit.Entry{Action: audit.Push, Outcome: audit.Allowed, Route: "ManifestPut", Status: 201,
				Name: name, Reference: "1.0", Digest: string(digest), Bytes: int64(len(m))})}},
		{"a manifest by digest, with tags", func() answer {
			return c.do("PUT", "/v2/"+name+"/manifests/"+string(digest)+"?tag=a&tag=b", m, typed)
		}, []audit.Entry{writer(audit.Entry{Action: audit.Push, Outcome: audit.Allowed, Route: "ManifestPut", Status: 201,
			Name: name, Reference: string(digest), Digest: string(digest), Tags: []string{"a", "b"}, Bytes: int64(len(m))})}},
		{"a manifest without the right to push", func() answer { return c.as(readerValue).do("PUT", tagged, m, typed) },
			[]audit.Entry{who("hubot", readerValue, audit.Entry{Action: audit.Push, Outcome: audit.Denied, Route: "ManifestPut", Status: 403, Code: "DENIED",
				Name: name, Reference: "1.0"})}},

		{"a pull", func() answer { return c.do("GET", tagged, nil) },
			[]audit.Entry{writer(audit.Entry{Action: audit.Pull, Outcome: audit.Allowed, Route: "ManifestGet", Status: 200,
				Name: name, Reference: "1.0", Digest: string(digest), Bytes: int64(len(m))})}},
		{"a pull of nothing", func() answer { return c.do("GET", "/v2/"+name+"/manifests/2.0", nil) },
			[]audit.Entry{writer(audit.Entry{Action: audit.Pull, Outcome: audit.Failed, Route: "ManifestGet", Status: 404, Code: "MANIFEST_UNKNOWN",
				Name: name, Reference: "2.0"})}},
		{"its layer", func() answer { return c.do("GET", "/v2/"+name+"/blobs/"+string(layer), nil) }, nil},
		{"whether it is there", func() answer { return c.do("HEAD", tagged, nil) }, nil},
		{"whether something is not there", func() answer { return c.do("HEAD", "/v2/"+name+"/blobs/"+string(digest), nil) }, nil},
		{"what there is", func() answer { return c.do("GET", "/v2/"+name+"/tags/list", nil) }, nil},
		{"a layer that is hidden", func() answer { return c.as(otherValue).do("GET", "/v2/"+name+"/blobs/"+string(layer), nil) },
			[]audit.Entry{who("stranger", otherValue, audit.Entry{Action: audit.Pull, Outcome: audit.Denied, Route: "BlobGet", Status: 404, Code: "NAME_UNKNOWN",
				Name: name, Reference: string(layer), Digest: string(layer)})}},
		{"tags that are hidden", func() answer { return c.as(otherValue).do("GET", "/v2/"+name+"/tags/list", nil) },
			[]audit.Entry{who("stranger", otherValue, audit.Entry{Action: audit.List, Outcome: audit.Denied, Route: "TagsList", Status: 404, Code: "NAME_UNKNOWN", Name: name})}},
		{"no path of ours", func() answer { return c.do("GET", "/nowhere", nil) }, nil},

		{"a deletion without the right", func() answer { return c.do("DELETE", tagged, nil) },
			[]audit.Entry{writer(audit.Entry{Action: audit.Delete, Outcome: audit.Denied, Route: "ManifestDelete", Status: 403, Code: "DENIED",
				Name: name, Reference: "1.0"})}},
		{"a tag is deleted", func() answer { return owner.do("DELETE", tagged, nil) },
			[]audit.Entry{who("octocat", ownerValue, audit.Entry{Action: audit.Delete, Outcome: audit.Allowed, Route: "ManifestDelete", Status: 202,
				Name: name, Reference: "1.0"})}},
		{"a blob in use is deleted", func() answer { return owner.do("DELETE", "/v2/"+name+"/blobs/"+string(layer), nil) },
			[]audit.Entry{who("octocat", ownerValue, audit.Entry{Action: audit.Delete, Outcome: audit.Failed, Route: "BlobDelete", Status: 409, Code: "DENIED",
				Name: name, Reference: string(layer), Digest: string(layer)})}},
		{"a manifest is deleted", func() answer { return owner.do("DELETE", "/v2/"+name+"/manifests/"+string(digest), nil) },
			[]audit.Entry{who("octocat", ownerValue, audit.Entry{Action: audit.Delete, Outcome: audit.Allowed, Route: "ManifestDelete", Status: 202,
				Name: name, Reference: string(digest), Digest: string(digest)})}},
		{"a push while the instance is read-only", func() answer {
			r.Publish(t, readOnly)
			return c.do("POST", uploads, nil)
		}, []audit.Entry{writer(audit.Entry{Action: audit.Upload, Outcome: audit.Denied, Route: "UploadStart", Status: 405, Code: "UNSUPPORTED", Name: name})}},
		{"anything while Docker packages are disabled", func() answer {
			r.Publish(t, disabled)
			return c.do("GET", tagged, nil)
		}, []audit.Entry{{Action: audit.Unknown, Outcome: audit.Denied, Route: "Unknown", Status: 404, Code: "UNSUPPORTED"}}},
	}
	for _, step := range steps {
		t.Run(step.what, func(t *testing.T) {
			before := len(lines.entries(t))
			c.t, owner.t, anonymous.t = t, t, t
			begin := time.Now().Add(-time.Second)
			c.addr = r.Addr
			a := step.do()
			// Entries come in order, so that this one is behind those of the step.
			r.Publish(t, samplePolicy())
			anonymous.do("GET", "/v2/", nil).want(t, http.StatusUnauthorized)
			var got []audit.Entry
			eventually(t, "the audit log has what follows", func() bool {
				got = lines.entries(t)[before:]
				return len(got) == len(step.want)+1
			})
			got = got[:len(step.want)]
			ignored := cmpopts.IgnoreFields(audit.Entry{}, "Time", "RequestID", "Reason", "Address", "UserAgent")
			if diff := cmp.Diff(step.want, got, ignored, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("entries (-want +got):\n%s", diff)
			}
			if len(got) > 0 && got[len(got)-1].RequestID != a.Header.Get("X-Request-Id") {
				t.Error("the entry has another id than the answer")
			}
			for _, e := range got {
				if e.Time.Before(begin) || e.Time.After(time.Now()) || e.Time.Location() != time.UTC || e.Address != "127.0.0.1" ||
					e.UserAgent != "Go-http-client/1.1" || (e.Reason != "") != (e.Code != "") {
					t.Errorf("this entry lacks something: %+v", e)
				}
			}
		})
	}

	// The address is that of the client, and what it calls itself is bounded.
	anonymous.t = t
	id := anonymous.do("GET", "/v2/", nil, header{"X-Forwarded-For", "203.0.113.9"}, header{"User-Agent", strings.Repeat("x", 1000)}).Header.Get("X-Request-Id")
	eventually(t, "the last entry is there", func() bool {
		all := lines.entries(t)
		if len(all) == 0 {
			return false
		}
		last := all[len(all)-1]
		return last.RequestID == id && last.Address == "203.0.113.9" && len(last.UserAgent) < 300
	})
}

func TestAChangeIsInTheAuditLogBeforeItIsAcknowledged(t *testing.T) {
	lines := &auditLines{takes: 50 * time.Millisecond}
	_, c := startAudited(t, lines, registrytest.Options{})
	has := func(a answer) {
		t.Helper()
		for _, e := range lines.entries(t) {
			if e.RequestID == a.Header.Get("X-Request-Id") {
				return
			}
		}
		t.Errorf("%s %s was answered, and is not in the audit log", a.Request.Method, a.Request.URL)
	}
	uploads := "/v2/" + name + "/blobs/uploads/"
	begun := c.do("POST", uploads, nil).want(t, http.StatusAccepted)
	has(begun)
	location := begun.Header.Get("Location")
	has(c.do("PATCH", location, []byte("lay")).want(t, http.StatusAccepted))
	layer := ref.SHA256.FromBytes([]byte("layer"))
	has(c.do("PUT", location+"?digest="+string(layer), []byte("er")).want(t, http.StatusCreated))
	has(c.do("POST", "/v2/octocat/octo-public/x/blobs/uploads/?from="+name+"&mount="+string(layer), nil).want(t, http.StatusCreated))
	m := image(c.pushBlob(name, []byte("{}")), layer, "")
	has(c.putManifest(name, "1", m).want(t, http.StatusCreated))
	has(c.as(ownerValue).do("DELETE", "/v2/"+name+"/manifests/1", nil).want(t, http.StatusAccepted))
}

func TestALoginOverTheLimitIsDenied(t *testing.T) {
	lines := &auditLines{}
	_, c := startAudited(t, lines, registrytest.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	const address = "203.0.113.9"
	exhaust(t, c, address)
	limited := c.as("wrong").do("GET", "/v2/", nil, from(address)).want(t, http.StatusTooManyRequests)
	eventually(t, "the audit log has it", func() bool {
		all := lines.entries(t)
		if len(all) == 0 {
			return false
		}
		last := all[len(all)-1]
		return last.RequestID == limited.Header.Get("X-Request-Id") && last.Action == audit.Login && last.Outcome == audit.Denied &&
			last.Status == http.StatusTooManyRequests && last.Address == address
	})
}

func TestAPurgeIsInTheAuditLogOnce(t *testing.T) {
	lines := &auditLines{}
	r, c := startAudited(t, lines, registrytest.Options{})
	c.pushImage(name, "1.0", "layer")
	p := samplePolicy()
	for i := range 3 {
		p.Purges = append(p.Purges, policy.Purge{ID: fmt.Sprint("uid-", i), Owner: "octocat", Name: fmt.Sprint("gone-", i)})
		r.Publish(t, p)
		eventually(t, "the purge is done", func() bool { return len(status(t, r).Purged) == i+1 })
	}
	r.Stop(t)
	var got []string
	for _, e := range lines.entries(t) {
		if e.Action == audit.Purge && e.Outcome == audit.Allowed && !e.Time.IsZero() {
			got = append(got, e.Name)
		}
	}
	if diff := cmp.Diff([]string{"octocat/gone-0", "octocat/gone-1", "octocat/gone-2"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoSecretReachesTheAuditLog(t *testing.T) {
	lines := &auditLines{}
	_, c := startAudited(t, lines, registrytest.Options{})
	secrets := presentCredentials(t, c)
	eventually(t, "there are enough entries for this test to mean something", func() bool { return len(lines.entries(t)) >= 50 })
	for _, e := range lines.entries(t) {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("the audit log has the secret %s: %s", secret, text)
			}
		}
	}
}

func TestAKilledRegistryHasAuditedWhatItAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	p := startProcess(t, processOptions{DataDir: t.TempDir(), AuditLog: path})
	c := client{t: t, addr: p.addr, value: writerValue}
	var acknowledged []string
	for i := range 20 {
		content := fmt.Appendf(nil, "content %d", i)
		a := c.do("POST", "/v2/"+name+"/blobs/uploads/?digest="+string(ref.SHA256.FromBytes(content)), content).want(t, http.StatusCreated)
		acknowledged = append(acknowledged, a.Header.Get("X-Request-Id"))
	}
	p.kill()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for _, id := range acknowledged {
		if !strings.Contains(text, `"requestId":"`+id+`"`) {
			t.Errorf("request %s was acknowledged, and is not in the audit log", id)
		}
	}
}
