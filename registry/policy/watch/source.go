// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package watch is the source of policies of a registry in a cluster: it follows
// the PackagesPolicy objects of one instance. What is missing, half written or not
// understood changes nothing, and a registry whose Kubernetes API is away starts
// and serves with the last policy that it saw.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/registry/policy"
)

const (
	// listTimeout bounds one list, so that a network that swallows packets does not
	// keep a registry from starting with what it has.
	listTimeout = 10 * time.Second
	// watchDuration is how long one watch lasts at least; up to twice as long, so
	// that many registries do not come back at once.
	watchDuration = 5 * time.Minute
	// minBackoff and maxBackoff bound the pause before the API is asked again.
	minBackoff = 200 * time.Millisecond
	maxBackoff = 3 * time.Second
	// halfWritten is how long the parts of a policy may not belong together before
	// that is a failure: the manager writes them one by one.
	halfWritten = 2 * time.Second
)

// Options of a Source.
type Options struct {
	// Config reaches the Kubernetes API. It needs the right to list and watch
	// PackagesPolicy objects in Namespace, and no other.
	Config *rest.Config
	// Namespace and Instance name the PackagesInstance; InstanceUID is what the
	// data belongs to, and no other instance's policy is taken.
	Namespace   string
	Instance    string
	InstanceUID string
	// DataDir is where the last good policy is kept.
	DataDir string
	// Live is where policies are published.
	Live *policy.Live
	// Now is the clock.
	Now func() time.Time
	// Report is told of every change, from the goroutine of Run: nil when a policy
	// came into force, else what is wrong.
	Report func(error)
}

// Source keeps a Live in step with the PackagesPolicy objects of an instance.
type Source struct {
	options   Options
	api       api
	publisher *policy.Publisher
	keeper    *keeper

	// The rest belongs to the goroutine of Run.

	shards map[string]policy.Shard // by the object's name
	reader policy.Reader
	// away says that the API was not reached the last time.
	away bool
	// overdue fires when the parts have not belonged together for too long; nil
	// while they do.
	overdue <-chan time.Time
}

// New makes a Source. It does not reach for the API; Run does.
func New(options Options) (*Source, error) {
	reach, err := newAPI(options)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	return &Source{
		options:   options,
		api:       reach,
		publisher: policy.NewPublisher(options.Live, options.Now),
		keeper: newKeeper(func(shards []policy.Shard) error {
			return policy.SaveLastGood(options.DataDir, shards)
		}),
		shards: map[string]policy.Shard{},
	}, nil
}

// Status says which policy is in force, and why not a newer one. It is safe for
// concurrent use.
func (s *Source) Status() policy.Status { return s.publisher.Status() }

// Run follows the objects until ctx ends. It returns nil then, and never before:
// whatever is wrong with the API, it tries again.
func (s *Source) Run(ctx context.Context) error {
	var keeping sync.WaitGroup
	keeping.Go(func() { s.keeper.run(ctx) })
	defer keeping.Wait()
	backoff := minBackoff
	for ctx.Err() == nil {
		began := s.options.Now()
		err := s.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			s.unreachable(err)
		}
		if s.options.Now().Sub(began) > maxBackoff {
			backoff = minBackoff
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff/2 + rand.N(backoff/2)): //nolint:gosec // a spread, no secret
		}
		backoff = min(2*backoff, maxBackoff)
	}
	return nil
}

// follow lists once and then watches, until the watch ends.
func (s *Source) follow(ctx context.Context) error {
	list, err := s.api.list(ctx)
	if err != nil {
		return fmt.Errorf("list PackagesPolicies: %w", err)
	}
	clear(s.shards)
	for i := range list.Items {
		s.keep(&list.Items[i])
	}
	s.away = false
	s.apply()

	watcher, err := s.api.watch(ctx, list.ResourceVersion)
	if err != nil {
		return fmt.Errorf("watch PackagesPolicies: %w", err)
	}
	defer watcher.Stop()
	for {
		select {
		case err := <-s.keeper.failed:
			s.options.Report(err)
		case <-s.overdue:
			s.overdue = nil
			_, err := s.open()
			s.fail(err)
		case event, open := <-watcher.ResultChan():
			if !open {
				return nil
			}
			changed, err := s.take(event)
			if err != nil {
				return err
			}
			if changed {
				s.apply()
			}
		}
	}
}

// take brings one event into s.shards.
func (s *Source) take(event watch.Event) (changed bool, err error) {
	switch event.Type {
	case watch.Added, watch.Modified:
		object, ok := event.Object.(*v1alpha1.PackagesPolicy)
		return ok && s.keep(object), nil
	case watch.Deleted:
		object, ok := event.Object.(*v1alpha1.PackagesPolicy)
		if !ok {
			return false, nil
		}
		return s.drop(object.Name), nil
	case watch.Bookmark:
		if s.overdue == nil {
			s.publisher.Confirm()
		}
		return false, nil
	case watch.Error:
		if err := apierrors.FromObject(event.Object); !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			return false, fmt.Errorf("watch PackagesPolicies: %w", err)
		}
		return false, errExpired
	}
	return false, nil
}

// errExpired asks for a new list; it is nothing to report.
var errExpired = errors.New("the watch is too old")

// keep takes an object that is named as a part of this instance's policy is. It
// says whether any part changed.
func (s *Source) keep(object *v1alpha1.PackagesPolicy) bool {
	spec := &object.Spec
	if object.Name != fmt.Sprintf("%s-%d", s.options.Instance, spec.Index) || spec.InstanceRef.Name != s.options.Instance {
		return s.drop(object.Name)
	}
	s.shards[object.Name] = policy.Shard{
		Index:         int(spec.Index),
		FormatVersion: int(spec.FormatVersion),
		Revision:      spec.Revision,
		Parts:         spec.Parts,
		Document:      spec.Document,
	}
	return true
}

func (s *Source) drop(name string) bool {
	_, known := s.shards[name]
	delete(s.shards, name)
	return known
}

func (s *Source) list() []policy.Shard {
	shards := make([]policy.Shard, 0, len(s.shards))
	for _, shard := range s.shards {
		shards = append(shards, shard)
	}
	return shards
}

// open makes a snapshot of the parts there are, if it is this instance's.
func (s *Source) open() (*policy.Snapshot, error) { return s.openShards(s.list()) }

func (s *Source) openShards(shards []policy.Shard) (*policy.Snapshot, error) {
	snapshot, err := s.reader.Open(shards)
	if err != nil {
		return nil, err
	}
	if uid := snapshot.Policy().Instance.UID; uid != s.options.InstanceUID {
		return nil, fmt.Errorf("the policy is for the instance with the UID %s, and this registry's data belongs to %s", uid, s.options.InstanceUID)
	}
	return snapshot, nil
}

// apply puts the parts into force if they are a whole policy.
func (s *Source) apply() {
	snapshot, err := s.open()
	if errors.Is(err, policy.ErrIncomplete) {
		if s.overdue == nil {
			s.overdue = time.After(halfWritten)
		}
		return
	}
	s.overdue = nil
	if err != nil {
		s.fail(err)
		return
	}
	if s.publisher.Publish(snapshot) {
		s.options.Report(nil)
	}
	s.keeper.keep(s.list(), snapshot.Revision())
}

// unreachable records that the API is away, once.
func (s *Source) unreachable(err error) {
	if errors.Is(err, errExpired) {
		return
	}
	if !s.away {
		s.fail(err)
	}
	s.away = true
}

// fail keeps what is in force, and says why. A registry that has no policy yet
// starts with the last good one.
func (s *Source) fail(err error) {
	if s.options.Live.Load() == nil {
		s.startFromLastGood()
	}
	if s.publisher.Fail(err) {
		s.options.Report(err)
	}
}

func (s *Source) startFromLastGood() {
	shards, err := policy.LoadLastGood(s.options.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var snapshot *policy.Snapshot
	if err == nil {
		snapshot, err = s.openShards(shards)
	}
	if err != nil {
		s.options.Report(fmt.Errorf("start from the last good policy: %w", err))
		return
	}
	s.keeper.has(snapshot.Revision())
	s.publisher.Restore(snapshot)
	s.options.Report(nil)
}

// listOptions select the parts of one instance's policy.
func listOptions(instance string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: v1alpha1.LabelInstance + "=" + instance}
}
