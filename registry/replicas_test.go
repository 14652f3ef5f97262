// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
	"github.com/packages-operator/packages-operator/registry/catalog/sql"
	"github.com/packages-operator/packages-operator/registry/ref"
	"github.com/packages-operator/packages-operator/registry/upkeep"
)

var (
	replicaRounds = flag.Int("replica-rounds", 40, "operations of each player on two registries")
	replicaKills  = flag.Int("replica-kills", 2, "how often one of two registries is killed meanwhile")
)

// replicas are two registries on one database and one bucket.
type replicas struct {
	options   [2]processOptions
	processes [2]*process
	// addresses are where they are; a new process has a new one.
	addresses [2]atomic.Value
}

func startReplicas(t *testing.T) *replicas {
	t.Helper()
	bucket, database := s3test.Start(t), postgrestest.Start(t).Schema()
	r := &replicas{}
	for i := range r.options {
		r.options[i] = processOptions{DataDir: t.TempDir(), DatabaseURL: database, S3: bucket.Endpoint}
		r.start(t, i)
	}
	return r
}

func (r *replicas) start(t *testing.T, i int) {
	t.Helper()
	r.processes[i] = startProcess(t, r.options[i])
	r.addresses[i].Store(r.processes[i].addr)
}

func (r *replicas) client(t *testing.T, i int) client {
	return client{t: t, addr: r.processes[i].addr, value: writerValue}
}

func TestAnUploadGoesOnAtAnotherReplica(t *testing.T) {
	r := startReplicas(t)
	// A part of S3 has 8 MiB here; chunks end in the middle of it.
	content := blobtest.Content(1, 19<<20+7)
	digest := ref.SHA256.FromBytes(content)
	location := r.client(t, 0).do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).
		wantHeader(t, "OCI-Chunk-Min-Length", fmt.Sprint(s3.DefaultPartSize)).Header.Get("Location")
	offset := 0
	for turn, size := range []int{10, 40_000, 3 << 20, 1, 9 << 20, 2 << 20} {
		chunk := content[offset : offset+size]
		rangeHeader := header{"Content-Range", fmt.Sprintf("%d-%d", offset, offset+size-1)}
		a := r.client(t, turn%2).do("PATCH", location, chunk, rangeHeader).want(t, http.StatusAccepted)
		offset += size
		// The other one knows how far it is, and takes nothing twice.
		other := r.client(t, (turn+1)%2)
		other.do("GET", location, nil).want(t, http.StatusNoContent).wantHeader(t, "Range", fmt.Sprintf("0-%d", offset-1))
		other.do("PATCH", location, chunk, rangeHeader).want(t, http.StatusRequestedRangeNotSatisfiable)
		location = a.Header.Get("Location")
	}

	// Of two that continue it at once, one at most is told that it did.
	chunk := content[offset : offset+100_000]
	rangeHeader := header{"Content-Range", fmt.Sprintf("%d-%d", offset, offset+len(chunk)-1)}
	answers := make(chan answer, 2)
	for i := range r.processes {
		go func() {
			a, err := r.client(t, i).send("PATCH", location, chunk, rangeHeader)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	var statuses []int
	for range r.processes {
		statuses = append(statuses, (<-answers).StatusCode)
	}
	slices.Sort(statuses)
	if statuses[0] != http.StatusAccepted || statuses[1] != http.StatusConflict && statuses[1] != http.StatusRequestedRangeNotSatisfiable {
		t.Fatalf("two chunks at once got %v, want one 202 and one 409 or 416", statuses)
	}
	offset += len(chunk)

	r.client(t, 1).do("PUT", location+"?digest="+string(digest), content[offset:]).want(t, http.StatusCreated)
	for i := range r.processes {
		got := r.client(t, i).do("GET", "/v2/"+name+"/blobs/"+string(digest), nil).want(t, http.StatusOK)
		if !bytes.Equal(got.body, content) {
			t.Errorf("replica %d has other content", i)
		}
	}
}

// collector is a third process of the same instance that does only upkeep. Its clock
// is ahead by so much that everything without a reference is due at once, and what it
// forgets is deleted seconds later.
type collector struct {
	catalog *sql.Store
	blobs   *s3.Store
	worker  *upkeep.Worker
}

func openCollector(t *testing.T, o processOptions) *collector {
	t.Helper()
	now := func() time.Time { return time.Now().Add(1000 * time.Hour) }
	catalog, err := sql.Open(t.Context(), sql.Options{
		URL: o.DatabaseURL, InstanceUID: "uid-of-test", GracePeriod: time.Hour, DeleteDelay: 3 * time.Second, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = catalog.Close() })
	where := *bucketOf(&s3test.Server{Endpoint: o.S3, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey})
	where.InstanceUID = "uid-of-test"
	blobs, err := s3.Open(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	blobs.StartEpoch(catalog.Epoch())
	return &collector{catalog, blobs, upkeep.New(upkeep.Options{Catalog: catalog, Blobs: blobs, Pause: time.Millisecond, Now: now})}
}

// leaked are the objects that the catalog does not know.
func (c *collector) leaked(t *testing.T, epoch uint64) []string {
	t.Helper()
	var keys []string
	for key, err := range c.blobs.Keys(t.Context(), epoch) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	unreferenced, err := c.catalog.Unreferenced(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	return unreferenced
}

// TestReplicasAgreeWithTheModel has players do random operations behind a balancer
// that sends each request to either registry, while one of them is killed now and
// then, and a third process collects garbage.
func TestReplicasAgreeWithTheModel(t *testing.T) {
	const players = 6
	r := startReplicas(t)
	garbage := openCollector(t, r.options[0])
	var pool [][]byte
	for i := range 12 {
		pool = append(pool, bytes.Repeat([]byte{byte('a' + i)}, i*i*i*60))
	}
	names := make([]string, players)
	for i := range names {
		names[i] = fmt.Sprintf("octocat/octo-app/player%02d", i)
	}
	c := client{t: t, value: ownerValue}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var done atomic.Int64
	var playing sync.WaitGroup
	for i := range players {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		p := &player{
			c: c, rand: random, name: names[i], others: slices.Delete(slices.Clone(names), i, i+1), pool: pool,
			address: func() string { return r.addresses[random.IntN(2)].Load().(string) },
			blobs:   map[ref.Digest][]byte{}, manifests: map[ref.Digest]played{}, tags: map[string]ref.Digest{},
		}
		operations := []func() error{p.pushBlob, p.pushBlob, p.mount, p.pushManifest, p.pushManifest, p.pushIndex, p.deleteTag, p.deleteManifest, p.deleteBlob}
		playing.Go(func() {
			for round := range *replicaRounds {
				err := operations[p.rand.IntN(len(operations))]()
				if err == nil {
					err = p.check()
				}
				if err != nil {
					t.Errorf("seed %d, round %d: %v", seed, round, err)
					return
				}
				done.Add(1)
			}
		})
	}
	collecting, stop := context.WithCancel(t.Context())
	var collected sync.WaitGroup
	collected.Go(func() {
		for collecting.Err() == nil {
			if _, err := garbage.worker.Pass(collecting); err != nil && collecting.Err() == nil {
				t.Errorf("upkeep: %v", err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})

	// The collector's epoch is the third.
	killed, epochs := []uint64{}, []uint64{1, 2}
	for kill := range *replicaKills {
		share := int64(players * *replicaRounds * (kill + 1) / (*replicaKills + 1))
		eventually(t, "the players go on", func() bool { return done.Load() >= share || t.Failed() })
		victim := kill % 2
		r.processes[victim].kill()
		killed = append(killed, epochs[victim])
		r.start(t, victim)
		epochs[victim] = uint64(4 + kill)
	}
	playing.Wait()
	stop()
	collected.Wait()
	if t.Failed() {
		return
	}
	for i := range r.processes {
		r.processes[i].terminate(t)
	}
	// Nothing is left behind but by those that were killed, which is swept once they
	// count as gone.
	for epoch := range garbage.catalog.Epoch() + uint64(*replicaKills) + 1 {
		if leaked := garbage.leaked(t, epoch); len(leaked) > 0 && !slices.Contains(killed, epoch) {
			t.Errorf("epoch %d left %v", epoch, leaked)
		}
	}
}
