// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

const (
	instanceName = "acme"
	instanceUID  = "6a3b"

	// patience bounds what a test waits for; the wait ends as soon as it happens.
	patience = 60 * time.Second
)

func examplePolicy(support policy.Support) policy.Policy {
	return policy.Policy{
		Instance:      policy.Instance{Name: instanceName, UID: instanceUID},
		Hosts:         policy.Hosts{Docker: "docker.packages.test", Base: "packages.test", URL: "https://docker.packages.test"},
		Support:       support,
		AnonymousPull: policy.AnonymousDeny,
		Repositories:  []policy.Repository{{Owner: "octocat", Name: "octo-app", Visibility: policy.Private}},
		Credentials: []policy.Credential{{
			ID: credential.ID("value"), Hash: credential.Sum("value"), Token: "monalisa", User: "monalisa", Scopes: []policy.Scope{policy.ScopeRead},
		}},
	}
}

// longPolicy has so many repositories that it takes several parts.
func longPolicy() policy.Policy {
	p := examplePolicy(policy.SupportEnabled)
	for i := range 8_000 {
		p.Repositories = append(p.Repositories, policy.Repository{Owner: "octocat", Name: fmt.Sprintf("repository-%d", i), Visibility: policy.Public})
	}
	return p
}

func split(t *testing.T, p policy.Policy) []policy.Shard {
	t.Helper()
	shards, _, err := policy.Split(p)
	if err != nil {
		t.Fatal(err)
	}
	return shards
}

func object(namespace string, shard policy.Shard) *v1alpha1.PackagesPolicy {
	return &v1alpha1.PackagesPolicy{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("%s-%d", instanceName, shard.Index),
			Labels: map[string]string{v1alpha1.LabelInstance: instanceName},
		},
		Spec: v1alpha1.PackagesPolicySpec{
			InstanceRef:   v1alpha1.LocalInstanceReference{Name: instanceName},
			FormatVersion: int32(shard.FormatVersion), Index: int32(shard.Index),
			Revision: shard.Revision, Parts: shard.Parts, Document: shard.Document,
		},
	}
}

// put creates or replaces the objects of shards, in their order.
func put(t *testing.T, namespace string, shards ...policy.Shard) {
	t.Helper()
	ctx := context.Background()
	for _, shard := range shards {
		wanted := object(namespace, shard)
		var current v1alpha1.PackagesPolicy
		err := admin.Get(ctx, client.ObjectKeyFromObject(wanted), &current)
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		if err != nil {
			err = admin.Create(ctx, wanted)
		} else {
			current.Spec = wanted.Spec
			err = admin.Update(ctx, &current)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// running is a source that follows an instance until the test ends.
type running struct {
	*Source
	t       *testing.T
	live    *policy.Live
	reports chan error
	stop    func()
}

func follow(t *testing.T, namespace, dataDir string, config *rest.Config) *running {
	t.Helper()
	r := &running{t: t, live: new(policy.Live), reports: make(chan error, 1000)}
	source, err := New(Options{
		Config: config, Namespace: namespace, Instance: instanceName, InstanceUID: instanceUID,
		DataDir: dataDir, Live: r.live, Now: time.Now, Report: func(err error) { r.reports <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Source = source
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		r.stop = func() {}
	}
	t.Cleanup(func() { r.stop() })
	return r
}

// inForce waits for a revision.
func (r *running) inForce(shards []policy.Shard) {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		changed := r.live.Changed()
		if s := r.live.Load(); s != nil && s.Revision() == shards[0].Revision {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("revision %s is not in force; status is %+v", shards[0].Revision, r.Status())
		}
	}
}

// reported waits for a report; "" stands for nil.
func (r *running) reported(part string) {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case err := <-r.reports:
			if part == "" && err == nil || part != "" && err != nil && strings.Contains(err.Error(), part) {
				return
			}
		case <-deadline:
			r.t.Fatalf("%q was not reported; status is %+v", part, r.Status())
		}
	}
}

// kept checks that a revision is in force and that Status says what is wrong.
func (r *running) kept(shards []policy.Shard, part string) {
	r.t.Helper()
	if s := r.live.Load(); s == nil || s.Revision() != shards[0].Revision {
		r.t.Errorf("the last good policy is no longer in force")
	}
	status := r.Status()
	if status.Revision != shards[0].Revision || status.Err == nil || !strings.Contains(status.Err.Error(), part) {
		r.t.Errorf("status is %+v, want revision %s and an error with %q", status, shards[0].Revision, part)
	}
}

func TestTheFirstPolicyAndEveryChangeComeIntoForce(t *testing.T) {
	namespace := newNamespace(t)
	r := follow(t, namespace, t.TempDir(), restConfig)
	for _, p := range []policy.Policy{
		examplePolicy(policy.SupportEnabled), examplePolicy(policy.SupportReadOnly), longPolicy(), examplePolicy(policy.SupportDisabled),
	} {
		shards := split(t, p)
		put(t, namespace, shards...)
		r.inForce(shards)
	}
	r.reported("")
	if status := r.Status(); status.Err != nil || status.Revision != r.live.Load().Revision() || status.Since.IsZero() {
		t.Errorf("status is %+v", status)
	}
}

// An update is effective within a second of its being written, as the API promises.
func TestAnUpdateIsSeenQuickly(t *testing.T) {
	namespace := newNamespace(t)
	shards := split(t, examplePolicy(policy.SupportEnabled))
	put(t, namespace, shards...)
	r := follow(t, namespace, t.TempDir(), restConfig)
	r.inForce(shards)
	// The best of a few: the machine may be busy, the code may not wait.
	best := time.Hour
	for i := range 6 {
		shards = split(t, examplePolicy([]policy.Support{policy.SupportReadOnly, policy.SupportEnabled}[i%2]))
		put(t, namespace, shards[0])
		began := time.Now()
		r.inForce(shards)
		best = min(best, time.Since(began))
	}
	if best > time.Second {
		t.Errorf("the quickest update took %v", best)
	}
}

func TestAHalfWrittenUpdateKeepsThePolicy(t *testing.T) {
	namespace := newNamespace(t)
	before := longPolicy()
	old := split(t, before)
	if len(old) < 4 {
		t.Fatalf("%d parts are too few to write half of", len(old))
	}
	put(t, namespace, old...)
	r := follow(t, namespace, t.TempDir(), restConfig)
	r.inForce(old)

	after := before
	after.Repositories = after.Repositories[:len(after.Repositories)-1]
	after.Support = policy.SupportReadOnly
	next := split(t, after)
	put(t, namespace, next[0])
	r.reported("do not belong together")
	r.kept(old, "do not belong together")

	put(t, namespace, next[1:]...)
	r.inForce(next)
	r.reported("")
	if status := r.Status(); status.Err != nil {
		t.Errorf("status is %+v", status)
	}
}

func TestWhatIsNotUnderstoodKeepsThePolicy(t *testing.T) {
	tests := map[string]struct {
		change func(policy.Policy) []policy.Shard
		want   string
	}{
		"another format version": {func(p policy.Policy) []policy.Shard {
			shards := split(t, p)
			for i := range shards {
				shards[i].FormatVersion = policy.FormatVersion + 1
			}
			return shards
		}, "format is not understood"},
		"an unknown role": {func(p policy.Policy) []policy.Shard {
			p.Repositories[0].Users = []policy.Member{{Name: "monalisa", Role: "Maintain"}}
			return split(t, p)
		}, `role "Maintain" is unknown`},
		"another instance's policy": {func(p policy.Policy) []policy.Shard {
			p.Instance.UID = "another"
			return split(t, p)
		}, "the policy is for the instance with the UID another, and this registry's data belongs to " + instanceUID},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			namespace := newNamespace(t)
			good := split(t, examplePolicy(policy.SupportEnabled))
			put(t, namespace, good...)
			r := follow(t, namespace, t.TempDir(), restConfig)
			r.inForce(good)
			put(t, namespace, test.change(examplePolicy(policy.SupportReadOnly))...)
			r.reported(test.want)
			r.kept(good, test.want)

			repaired := split(t, examplePolicy(policy.SupportDisabled))
			put(t, namespace, repaired...)
			r.inForce(repaired)
		})
	}
}

func TestAnUnknownFieldKeepsThePolicy(t *testing.T) {
	namespace := newNamespace(t)
	good := split(t, examplePolicy(policy.SupportEnabled))
	put(t, namespace, good...)
	dataDir := t.TempDir()
	r := follow(t, namespace, dataDir, restConfig)
	r.inForce(good)
	r.stop()

	// A later release wrote this; its revision is right, its content unknown here.
	later := seal(strings.Replace(good[0].Document, "{", `{"quota":1,`, 1), good[1].Document)
	put(t, namespace, later)
	r = follow(t, namespace, dataDir, restConfig)
	r.reported(`unknown field "quota"`)
	r.kept(good, `unknown field "quota"`)
}

// seal is the head of a policy of these documents, as any release of this format
// version writes it.
func seal(documents ...string) policy.Shard {
	head := policy.Shard{FormatVersion: policy.FormatVersion, Document: documents[0]}
	text := fmt.Sprintf("packages-operator.io/policy/revision\n%d\n", policy.FormatVersion)
	for _, document := range documents {
		head.Parts = append(head.Parts, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(document))))
	}
	text += strings.Join(head.Parts, "\n") + "\n"
	head.Revision = fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:32]
	return head
}

// Absence never deletes.
func TestDeletedPartsDropNothing(t *testing.T) {
	namespace := newNamespace(t)
	shards := split(t, examplePolicy(policy.SupportEnabled))
	put(t, namespace, shards...)
	r := follow(t, namespace, t.TempDir(), restConfig)
	r.inForce(shards)
	if err := admin.DeleteAllOf(context.Background(), &v1alpha1.PackagesPolicy{}, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	r.reported("part 0 is missing")
	r.kept(shards, "part 0 is missing")
	put(t, namespace, shards...)
	r.reported("")
	if status := r.Status(); status.Err != nil || status.Revision != shards[0].Revision {
		t.Errorf("status is %+v", status)
	}
}

func TestObjectsOfOthersAreIgnored(t *testing.T) {
	namespace := newNamespace(t)
	shards := split(t, examplePolicy(policy.SupportEnabled))
	foreign := split(t, examplePolicy(policy.SupportDisabled))
	for name, change := range map[string]func(*v1alpha1.PackagesPolicy){
		"another name":     func(o *v1alpha1.PackagesPolicy) { o.Name = "zzz-0" },
		"another index":    func(o *v1alpha1.PackagesPolicy) { o.Name = instanceName + "-7" },
		"another instance": func(o *v1alpha1.PackagesPolicy) { o.Name, o.Spec.InstanceRef.Name = instanceName+"-8", "other" },
		"no label":         func(o *v1alpha1.PackagesPolicy) { o.Name, o.Labels = instanceName+"-9", nil },
	} {
		o := object(namespace, foreign[0])
		change(o)
		if err := admin.Create(context.Background(), o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	put(t, namespace, shards...)
	r := follow(t, namespace, t.TempDir(), restConfig)
	r.inForce(shards)
	r.reported("")
	if status := r.Status(); status.Err != nil {
		t.Errorf("status is %+v", status)
	}
}

// unreachable is a config of an API server that is not there.
func unreachable(t *testing.T) *rest.Config {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return &rest.Config{Host: "http://" + address}
}

func TestARegistryStartsWithTheLastGoodPolicyWhileTheAPIIsAway(t *testing.T) {
	namespace, dataDir := newNamespace(t), t.TempDir()
	shards := split(t, longPolicy())
	put(t, namespace, shards...)
	r := follow(t, namespace, dataDir, restConfig)
	r.inForce(shards)
	r.reported("")
	r.stop() // saves before it ends

	r = follow(t, namespace, dataDir, unreachable(t))
	r.inForce(shards)
	r.reported("list PackagesPolicies")
	if status := r.Status(); !status.Confirmed.IsZero() {
		t.Errorf("nobody said that this is the newest: %+v", status)
	}
	r.kept(shards, "list PackagesPolicies")
}

func TestTheLastGoodPolicyOfAnotherInstanceIsRefused(t *testing.T) {
	dataDir := t.TempDir()
	foreign := examplePolicy(policy.SupportEnabled)
	foreign.Instance.UID = "another"
	if err := policy.SaveLastGood(dataDir, split(t, foreign)); err != nil {
		t.Fatal(err)
	}
	r := follow(t, "any", dataDir, unreachable(t))
	r.reported("start from the last good policy: the policy is for the instance with the UID another")
	if r.live.Load() != nil {
		t.Error("it was put into force")
	}
}

func TestADamagedLastGoodPolicyIsReportedAndNotUsed(t *testing.T) {
	dataDir := t.TempDir()
	if err := policy.SaveLastGood(dataDir, split(t, examplePolicy(policy.SupportEnabled))[:1]); err != nil {
		t.Fatal(err)
	}
	r := follow(t, "any", dataDir, unreachable(t))
	r.reported("start from the last good policy: ")
	if r.live.Load() != nil {
		t.Error("it was put into force")
	}
}

func TestADataDirectoryThatCannotBeWrittenIsReportedAndChangesNothingElse(t *testing.T) {
	namespace := newNamespace(t)
	shards := split(t, examplePolicy(policy.SupportEnabled))
	put(t, namespace, shards...)
	r := follow(t, namespace, filepath.Join(t.TempDir(), "missing"), restConfig)
	r.inForce(shards)
	r.reported("keep policy")
	if r.live.Load().Revision() != shards[0].Revision {
		t.Error("the policy is not in force")
	}
}

// proxy is a network between a source and the API server that can be cut.
type proxy struct {
	target string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

// newProxy returns a proxy and a config that leads through it.
func newProxy(t *testing.T) (*proxy, *rest.Config) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(restConfig.Host)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: target.Host}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.setCut(true)
		serving.Wait()
	})
	config := rest.CopyConfig(restConfig)
	config.Host = "https://" + listener.Addr().String()
	return p, config
}

// setCut cuts or mends the network.
func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for _, conn := range p.conns {
			_ = conn.Close()
		}
		p.conns = nil
	}
}

func (p *proxy) carry(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	upstream, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = upstream.Close() }()
	p.mu.Lock()
	if p.cut {
		p.mu.Unlock()
		return
	}
	p.conns = append(p.conns, conn, upstream)
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(upstream, conn)
		_ = upstream.Close()
	}()
	_, _ = io.Copy(conn, upstream)
	_ = conn.Close()
	<-done
}

func TestAChangeMadeWhileTheAPIWasAwayIsSeenWhenItIsBack(t *testing.T) {
	namespace := newNamespace(t)
	first := split(t, examplePolicy(policy.SupportEnabled))
	put(t, namespace, first...)
	p, config := newProxy(t)
	r := follow(t, namespace, t.TempDir(), config)
	r.inForce(first)

	p.setCut(true)
	r.reported("list PackagesPolicies")
	r.kept(first, "list PackagesPolicies")
	second := split(t, examplePolicy(policy.SupportReadOnly))
	put(t, namespace, second...)

	p.setCut(false)
	r.inForce(second)
	r.reported("")
	if status := r.Status(); status.Err != nil {
		t.Errorf("status is %+v", status)
	}
}
