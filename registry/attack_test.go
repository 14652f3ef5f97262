// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/manifest"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// forgery is a bearer token in the making.
type forgery struct {
	header map[string]any
	claims map[string]any
	key    []byte
	hash   func() hash.Hash
}

// token writes what the registry would, if nothing was changed: claims in its order.
func (f *forgery) token(t *testing.T) string {
	t.Helper()
	encode := func(fields map[string]any, order ...string) string {
		var parts []string
		for _, key := range append(order, slices.Sorted(maps.Keys(fields))...) {
			value, found := fields[key]
			if !found || slices.ContainsFunc(parts, func(part string) bool { return strings.HasPrefix(part, `"`+key+`":`) }) {
				continue
			}
			text, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, fmt.Sprintf("%q:%s", key, text))
		}
		return base64.RawURLEncoding.EncodeToString([]byte("{" + strings.Join(parts, ",") + "}"))
	}
	signed := encode(f.header, "alg", "kid", "typ") + "." + encode(f.claims, "iss", "sub", "aud", "iat", "nbf", "exp", "cid", "access")
	if f.key == nil {
		return signed + "."
	}
	mac := hmac.New(f.hash, f.key)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Whoever forges has the best of all worlds here: the registry's own key.
func TestForgedBearerTokensAreRefusedAlike(t *testing.T) {
	r, c := start(t)
	c.pushImage(name, "1.0", "layer")
	key, err := os.ReadFile(filepath.Join(r.DataDir, "keys", "0001"))
	if err != nil {
		t.Fatal(err)
	}
	try := func(change func(*forgery)) answer {
		now := time.Now()
		f := &forgery{
			header: map[string]any{"alg": "HS256", "kid": "0001", "typ": "JWT"},
			claims: map[string]any{
				"iss": "uid-of-test", "sub": "octocat", "aud": "docker.packages.test",
				"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "cid": credential.ID(ownerValue),
				// A map would be marshaled in another order than the registry's.
				"access": json.RawMessage(`[{"type":"repository","name":"` + name + `","actions":["pull"]}]`),
			},
			key: key, hash: sha256.New,
		}
		change(f)
		return c.as("").do("GET", "/v2/"+name+"/manifests/1.0", nil, header{"Authorization", "Bearer " + f.token(t)})
	}
	try(func(*forgery) {}).want(t, http.StatusOK) // so that only the change can be why

	attacker := map[string]string{"kty": "oct", "k": base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("a", 32)))}
	var first string
	for what, change := range map[string]func(*forgery){
		"alg none":             func(f *forgery) { f.header["alg"], f.key = "none", nil },
		"alg None":             func(f *forgery) { f.header["alg"], f.key = "None", nil },
		"alg none, signed":     func(f *forgery) { f.header["alg"] = "none" },
		"no alg":               func(f *forgery) { delete(f.header, "alg") },
		"HS384":                func(f *forgery) { f.header["alg"], f.hash = "HS384", sha512.New384 },
		"HS512":                func(f *forgery) { f.header["alg"], f.hash = "HS512", sha512.New },
		"RS256 with HMAC":      func(f *forgery) { f.header["alg"] = "RS256" },
		"no signature":         func(f *forgery) { f.key = nil },
		"a foreign key":        func(f *forgery) { f.key = []byte(strings.Repeat("a", 32)) },
		"a foreign kid":        func(f *forgery) { f.header["kid"] = "0002" },
		"a kid that is a path": func(f *forgery) { f.header["kid"], f.key = "../../../../dev/null", []byte{} },
		"an embedded jwk":      func(f *forgery) { f.header["jwk"], f.key = attacker, []byte(strings.Repeat("a", 32)) },
		"jwk beside our key":   func(f *forgery) { f.header["jwk"] = attacker },
		"x5c":                  func(f *forgery) { f.header["x5c"] = []string{"MIIB"} },
		"x5u":                  func(f *forgery) { f.header["x5u"] = "https://attacker.example/x" },
		"jku":                  func(f *forgery) { f.header["jku"] = "https://attacker.example/keys" },
		"crit":                 func(f *forgery) { f.header["crit"] = []string{"exp"} },
		"another instance's":   func(f *forgery) { f.claims["iss"] = "uid-of-another" },
		"another service":      func(f *forgery) { f.claims["aud"] = "docker.elsewhere.test" },
		"two services":         func(f *forgery) { f.claims["aud"] = []string{"docker.packages.test", "x"} },
		"expired":              func(f *forgery) { f.claims["exp"] = time.Now().Add(-time.Minute).Unix() },
		"no end":               func(f *forgery) { delete(f.claims, "exp") },
		"not yet valid":        func(f *forgery) { f.claims["nbf"] = time.Now().Add(time.Minute).Unix() },
		"an unknown cid":       func(f *forgery) { f.claims["cid"] = strings.Repeat("0", 32) },
		"for nobody":           func(f *forgery) { delete(f.claims, "cid") },
		"a claim of its own":   func(f *forgery) { f.claims["admin"] = true },
	} {
		got := try(change)
		if got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: status %d", what, got.StatusCode)
			continue
		}
		if text := fmt.Sprint(got.Header.Get("Www-Authenticate"), string(got.body)); first == "" {
			first = text
		} else if text != first {
			t.Errorf("%s can be told apart:\n%s\n%s", what, text, first)
		}
	}
}

func TestABearerTokenDoesNothingElse(t *testing.T) {
	_, c := start(t)
	c.pushImage(name, "1.0", "layer")
	digest := string(ref.SHA256.FromBytes([]byte("layer")))
	owner, anonymous := c.as(ownerValue), c.as("")
	push := owner.bearer("scope=repository:" + name + ":push")
	pull := owner.bearer("scope=repository:" + name + ":pull")
	deletion := owner.bearer("scope=repository:" + name + ":delete")

	t.Run("a push token does not delete or pull", func(t *testing.T) {
		anonymous.do("DELETE", "/v2/"+name+"/manifests/1.0", nil, push).want(t, http.StatusUnauthorized, errcode.Unauthorized)
		anonymous.do("DELETE", "/v2/"+name+"/blobs/"+digest, nil, push).want(t, http.StatusUnauthorized, errcode.Unauthorized)
		anonymous.do("GET", "/v2/"+name+"/manifests/1.0", nil, push).want(t, http.StatusUnauthorized, errcode.Unauthorized)
	})
	t.Run("a pull token does not mount", func(t *testing.T) {
		path := "/v2/" + name + "/blobs/uploads/?mount=" + digest + "&from=" + name
		anonymous.do("POST", path, nil, pull).want(t, http.StatusUnauthorized, errcode.Unauthorized)
	})
	t.Run("a delete token does not push", func(t *testing.T) {
		anonymous.do("POST", "/v2/"+name+"/blobs/uploads/", nil, deletion).want(t, http.StatusUnauthorized, errcode.Unauthorized)
	})
	t.Run("no token is for a name that its own begins with", func(t *testing.T) {
		for _, other := range []string{name + "2", name + "/sub", strings.TrimSuffix(name, "a")} {
			anonymous.do("GET", "/v2/"+other+"/tags/list", nil, pull).want(t, http.StatusUnauthorized, errcode.Unauthorized)
		}
	})
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusOK)
}

// withThief runs a registry whose stranger has a repository of their own, and no role
// in octocat's.
func withThief(t *testing.T) (c, thief client, own string) {
	t.Helper()
	p := samplePolicy()
	p.Repositories = append(p.Repositories, policy.Repository{Owner: "stranger", Name: "den", Visibility: policy.Private})
	r := registrytest.Start(t, p, registrytest.Options{})
	c = client{t: t, addr: r.Addr, value: writerValue}
	return c, c.as(otherValue), "stranger/den/loot"
}

// What one has no right to read cannot be had, or found out about, by its digest.
func TestADigestIsNoKey(t *testing.T) {
	c, thief, own := withThief(t)
	_, manifestDigest := c.pushImage(name, "1.0", "secret")
	secret, absent := ref.SHA256.FromBytes([]byte("secret")), ref.SHA256.FromBytes([]byte("absent"))
	config := thief.pushBlob(own, []byte("{}"))

	// Each request for the secret digest is answered like one for a digest that is
	// nowhere.
	alike := func(what string, ask func(d ref.Digest) answer) {
		t.Helper()
		read := func(d ref.Digest) string {
			a := ask(d)
			a.Header.Del("X-Request-Id")
			a.Header.Del("Date")
			for _, key := range []string{"Location", "Docker-Upload-Uuid"} {
				if id := a.Header.Get(key); id != "" {
					a.Header.Set(key, id[:len(id)-32])
				}
			}
			return strings.ReplaceAll(fmt.Sprint(a.StatusCode, a.Header, string(a.body)), string(d), "DIGEST")
		}
		if got, want := read(secret), read(absent); got != want {
			t.Errorf("%s: the secret shows:\n%s\n%s", what, got, want)
		}
	}
	uploads := "/v2/" + own + "/blobs/uploads/"
	for _, method := range []string{"HEAD", "GET", "DELETE"} {
		alike(method+" blob", func(d ref.Digest) answer { return thief.do(method, "/v2/"+own+"/blobs/"+string(d), nil) })
		alike(method+" blob of the private name", func(d ref.Digest) answer { return thief.do(method, "/v2/"+name+"/blobs/"+string(d), nil) })
	}
	alike("mount", func(d ref.Digest) answer {
		return thief.do("POST", uploads+"?mount="+string(d)+"&from="+url.QueryEscape(name), nil)
	})
	alike("mount from anywhere", func(d ref.Digest) answer { return thief.do("POST", uploads+"?mount="+string(d), nil) })
	alike("upload of nothing", func(d ref.Digest) answer { return thief.do("POST", uploads+"?digest="+string(d), []byte("x")) })
	alike("finish with nothing", func(d ref.Digest) answer {
		location := thief.do("POST", uploads, nil).want(t, http.StatusAccepted).Header.Get("Location")
		return thief.do("PUT", location+"?digest="+string(d), nil)
	})
	alike("manifest", func(d ref.Digest) answer { return thief.putManifest(own, "1.0", image(config, d, "")) })
	alike("referrers", func(d ref.Digest) answer { return thief.do("GET", "/v2/"+own+"/referrers/"+string(d), nil) })

	// Nor is the manifest, by digest or as a child of an index.
	thief.do("GET", "/v2/"+own+"/manifests/"+string(manifestDigest), nil).want(t, http.StatusNotFound, errcode.ManifestUnknown)
	index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`, manifest.OCIIndex, manifest.OCIManifest, manifestDigest)
	thief.do("PUT", "/v2/"+own+"/manifests/2.0", index, header{"Content-Type", manifest.OCIIndex}).want(t, http.StatusNotFound, errcode.ManifestUnknown)
}

// An upload goes on only with the name and the user that it began with, whatever
// the bearer token allows, and no longer than the token lasts.
func TestAnUploadCannotBeTakenOver(t *testing.T) {
	r, c := start(t)
	begun := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
	digest := string(ref.SHA256.FromBytes([]byte("chunk")))
	requests := []string{"GET " + begun, "HEAD " + begun, "PATCH " + begun, "PUT " + begun + "?digest=" + digest, "DELETE " + begun}
	owner := c.as(ownerValue).bearer("scope=repository:" + name + ":pull,push,delete")
	for _, request := range requests {
		method, path, _ := strings.Cut(request, " ")
		c.as("").do(method, path, []byte("chunk"), owner).want(t, http.StatusNotFound)
		// In another repository, where both may push.
		elsewhere := strings.Replace(path, name, "octocat/octo-public/image", 1)
		c.do(method, elsewhere, []byte("chunk")).want(t, http.StatusNotFound)
		// With the right taken away meanwhile.
		p := samplePolicy()
		p.Credentials = slices.DeleteFunc(p.Credentials, func(held policy.Credential) bool { return held.User == "monalisa" })
		r.Publish(t, p)
		c.do(method, path, []byte("chunk")).want(t, http.StatusUnauthorized)
		r.Publish(t, samplePolicy())
	}
	c.do("PATCH", begun, []byte("chunk")).want(t, http.StatusAccepted)
	c.do("PUT", begun+"?digest="+digest, nil).want(t, http.StatusCreated)
}

func TestScopesAreTakenLiterally(t *testing.T) {
	_, c := start(t)
	c.pushImage(name, "1.0", "layer")
	for _, scope := range []string{
		"repository:*:*", "repository:*:pull", "repository:octocat/*:pull", "repository:octocat/octo-app/*:pull", "repository:**:pull",
		"repository:octocat/octo-public/../octo-app/monalisa:pull", "repository:./" + name + ":pull", "repository:/" + name + ":pull",
		"repository:" + name + "/:pull", "repository:octocat%2focto-app%2fmonalisa:pull", "repository:octocat%2Focto-app/monalisa:pull",
		"repository:Octocat/octo-app/monalisa:pull", "repository:" + strings.ToUpper(name) + ":pull", "REPOSITORY:" + name + ":pull",
		"repository:" + name + ":PULL", "repository:" + name + ":pull ", "repository(plugin):" + name + ":pull", "registry:*:*", "registry:catalog:pull",
		"repository:" + name + "\x00:pull", "repository:" + name + ":", "repository::pull", "::", ":", "*", "%2e%2e", "repository:docker.packages.test/" + name + ":pull",
		"repository:" + name + strings.Repeat("a", 10_000) + ":pull", strings.Repeat("x", 10_000), "repository:" + name + ":" + strings.Repeat("pull,", 2_000),
		"repository:octocat/octo-app/monalisа:pull", // its last letter is Cyrillic
	} {
		got := c.do("GET", "/token?scope="+url.QueryEscape(scope), nil)
		switch got.StatusCode {
		case http.StatusBadRequest:
			if len(got.body) > 4<<10 {
				t.Errorf("%.60q is answered with %d bytes", scope, len(got.body))
			}
		case http.StatusOK:
			bearer := header{"Authorization", "Bearer " + got.token(t).Token}
			status := c.as("").do("GET", "/v2/"+name+"/manifests/1.0", nil, bearer).StatusCode
			// A space ends a scope.
			if want := strings.TrimSpace(scope) == "repository:"+name+":pull"; want != (status == http.StatusOK) {
				t.Errorf("a token for %.60q pulls: %d", scope, status)
			}
			c.as("").do("GET", "/v2/_catalog", nil, bearer).want(t, http.StatusUnauthorized)
			c.as("").do("POST", "/v2/"+name+"/blobs/uploads/", nil, bearer).want(t, http.StatusUnauthorized)
		default:
			t.Errorf("%.60q: status %d", scope, got.StatusCode)
		}
	}
}

// A path has one meaning; another way to write it leads nowhere, and no answer sends
// a client with its credential to another address.
func TestPathsHaveOneSpelling(t *testing.T) {
	c, thief, own := withThief(t)
	c.pushImage(name, "1.0", "layer")
	thief.pushImage(own, "1.0", "layer")
	for _, path := range []string{
		own + "/../../../" + name, own + "/..%2f..%2f..%2f" + name, own + "%2f..%2f..%2f..%2f" + name, own + "/%2e%2e/%2e%2e/%2e%2e/" + name,
		"./" + name, "/" + name, own + "//" + name, strings.ReplaceAll(name, "/", "%2f"), strings.ReplaceAll(name, "/", "%2F"),
		strings.ToUpper(name), "octocat/Octo-App/monalisa", name + "%00", name + "%20", name + ";x", strings.Replace(name, "/", "\\", 1),
		strings.Replace(name, "o", "%6f", 1), name + "/.", name + "/",
	} {
		for _, who := range []client{c, thief} {
			got := who.do("GET", "/v2/"+path+"/manifests/1.0", nil)
			if got.StatusCode < 400 || got.StatusCode >= 500 {
				t.Errorf("%s: status %d, Location %q", path, got.StatusCode, got.Header.Get("Location"))
			}
		}
	}
	for _, path := range []string{"//v2/", "/v2//", "/v2/../v2/", "/./v2/", "/V2/", "/v2/./", "/%76%32/"} {
		if got := c.do("GET", path, nil); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, Location %q", path, got.StatusCode, got.Header.Get("Location"))
		}
	}
}

// Two programs that read one manifest must see the same: what hides a layer from one
// of them is not stored.
func TestAManifestCannotHideALayer(t *testing.T) {
	_, c := start(t)
	config, layer := c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte("layer"))
	good := string(image(config, layer, ""))
	foreign := `{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"` + string(layer) + `","size":5,"urls":["https://elsewhere.example/layer"]}`
	list := `"layers":[` + foreign + `]`
	descriptor := func(more string) string {
		return strings.Replace(good, `"size":5`, `"size":5`+more, 1)
	}
	for what, content := range map[string]string{
		"plain":                       strings.Replace(good, `"layers":[`, `"layers":[`+foreign+`,`, 1),
		"layers twice":                strings.TrimSuffix(good, "}") + "," + list + "}",
		"layers twice, foreign first": "{" + list + "," + strings.TrimPrefix(good, "{"),
		"Layers":                      strings.TrimSuffix(good, "}") + "," + strings.Replace(list, "layers", "Layers", 1) + "}",
		"LAYERS first":                "{" + strings.Replace(list, "layers", "LAYERS", 1) + "," + strings.TrimPrefix(good, "{"),
		"layers, escaped":             strings.TrimSuffix(good, "}") + "," + strings.Replace(list, "layers", `\u006cayers`, 1) + "}",
		"layers with a long s":        strings.TrimSuffix(good, "}") + "," + strings.Replace(list, "layers", "layerſ", 1) + "}",
		"urls":                        descriptor(`,"urls":["https://elsewhere.example"]`),
		"URLs":                        descriptor(`,"URLs":["https://elsewhere.example"]`),
		"urls twice":                  descriptor(`,"urls":["https://elsewhere.example"],"urls":[]`),
		"mediaType of the layer":      descriptor(`,"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"`),
		"MediaType of the layer":      descriptor(`,"MediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"`),
		"digest twice":                descriptor(`,"digest":"` + string(config) + `"`),
		"a second document":           good + good,
	} {
		t.Run(what, func(t *testing.T) {
			c.putManifest(name, "hidden", []byte(content)).want(t, http.StatusBadRequest, errcode.ManifestInvalid)
			c.do("GET", "/v2/"+name+"/manifests/"+string(ref.SHA256.FromBytes([]byte(content))), nil).want(t, http.StatusNotFound)
		})
	}
	c.do("GET", "/v2/"+name+"/manifests/hidden", nil).want(t, http.StatusNotFound)
	c.putManifest(name, "shown", []byte(good)).want(t, http.StatusCreated)
}

func TestAManifestIsWhatItSays(t *testing.T) {
	_, c := start(t)
	config, layer := c.pushBlob(name, []byte("{}")), c.pushBlob(name, []byte("layer"))
	good := string(image(config, layer, ""))
	untyped := strings.Replace(good, `"mediaType":"`+manifest.OCIManifest+`",`, "", 1)
	index := `{"schemaVersion":2,"mediaType":"` + manifest.OCIIndex + `","manifests":[]}`
	for what, sent := range map[string]struct{ content, contentType string }{
		"an image called an index":                  {strings.Replace(good, manifest.OCIManifest, manifest.OCIIndex, 1), manifest.OCIIndex},
		"an image sent as an index":                 {good, manifest.OCIIndex},
		"an image without a type, sent as an index": {untyped, manifest.OCIIndex},
		"an index called an image":                  {strings.Replace(index, manifest.OCIIndex, manifest.OCIManifest, 1), manifest.OCIManifest},
		"an index sent as an image":                 {index, manifest.OCIManifest},
		"an image with children":                    {strings.TrimSuffix(good, "}") + `,"manifests":[]}`, manifest.OCIManifest},
		"an image with children that are null":      {strings.TrimSuffix(good, "}") + `,"manifests":null}`, manifest.OCIManifest},
		"an index with layers":                      {strings.TrimSuffix(index, "}") + `,"layers":[]}`, manifest.OCIIndex},
		"an OCI image sent as Docker's":             {good, manifest.DockerManifest},
		"an image of the first schema":              {strings.TrimSuffix(good, "}") + `,"fsLayers":[]}`, manifest.OCIManifest},
		"an image sent as nothing known":            {good, "application/json"},
	} {
		got := c.do("PUT", "/v2/"+name+"/manifests/odd", []byte(sent.content), header{"Content-Type", sent.contentType})
		if got.StatusCode != http.StatusBadRequest || got.errorCode(t) != errcode.ManifestInvalid {
			t.Errorf("%s: status %d, %s", what, got.StatusCode, got.body)
		}
	}
	// What says nothing of its type keeps the one that it was sent with.
	c.putManifest(name, "plain", []byte(untyped)).want(t, http.StatusCreated)
	c.do("GET", "/v2/"+name+"/manifests/plain", nil).want(t, http.StatusOK).wantHeader(t, "Content-Type", manifest.OCIManifest)
}
