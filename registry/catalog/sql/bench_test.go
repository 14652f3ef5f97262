// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/catalog"
	"github.com/packages-operator/packages-operator/registry/catalog/catalogtest"
	"github.com/packages-operator/packages-operator/registry/ref"
)

const benchName ref.Name = "octocat/octo-app/app"

func benchStore(b *testing.B) catalog.Store {
	return open(b, b.TempDir(), catalogtest.Options{Now: time.Now, GracePeriod: 24 * time.Hour, DeleteDelay: 24 * time.Hour})
}

func benchBlob(content string) catalog.Blob {
	return catalog.Blob{Digest: ref.SHA256.FromBytes([]byte(content)), Size: int64(len(content)), Key: "1-" + content}
}

// benchImage is a manifest of about 1.5 KiB with a config and five layers.
func benchImage(b *testing.B, s catalog.Store, i int64) catalog.Manifest {
	b.Helper()
	content := fmt.Appendf(nil, "%d%s", i, strings.Repeat("x", 1500))
	m := catalog.Manifest{
		Digest: ref.SHA256.FromBytes(content), MediaType: "application/vnd.oci.image.manifest.v1+json", Content: content,
	}
	for layer := range 6 {
		blob := benchBlob(fmt.Sprint("layer ", layer))
		if i == 0 {
			if _, err := s.PutBlob(b.Context(), benchName, blob); err != nil {
				b.Fatal(err)
			}
		}
		m.Blobs = append(m.Blobs, blob.Digest)
	}
	return m
}

// benchRead measures a read among 3000 tags, alone and beside a busy writer.
func benchRead(b *testing.B, read func(ctx context.Context, s catalog.Store, m catalog.Manifest) error) {
	for _, busy := range []bool{false, true} {
		b.Run(fmt.Sprintf("busy=%v", busy), func(b *testing.B) {
			s := benchStore(b)
			m := benchImage(b, s, 0)
			tags := make([]ref.Tag, 3000)
			for i := range tags {
				tags[i] = ref.Tag(fmt.Sprint("v", i))
			}
			if err := s.PutManifest(b.Context(), benchName, m, tags); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := int64(1); busy && ctx.Err() == nil; i++ {
					_ = s.PutManifest(ctx, benchName, benchImage(b, s, i), []ref.Tag{"other"})
				}
			}()
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := read(b.Context(), s, m); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			cancel()
			<-done
		})
	}
}

func BenchmarkResolveTag(b *testing.B) {
	benchRead(b, func(ctx context.Context, s catalog.Store, _ catalog.Manifest) error {
		_, err := s.ResolveTag(ctx, benchName, "v1234")
		return err
	})
}

func BenchmarkManifest(b *testing.B) {
	benchRead(b, func(ctx context.Context, s catalog.Store, m catalog.Manifest) error {
		_, err := s.Manifest(ctx, benchName, m.Digest)
		return err
	})
}

func BenchmarkBlob(b *testing.B) {
	benchRead(b, func(ctx context.Context, s catalog.Store, m catalog.Manifest) error {
		_, err := s.Blob(ctx, benchName, m.Blobs[3])
		return err
	})
}

func BenchmarkTags(b *testing.B) {
	benchRead(b, func(ctx context.Context, s catalog.Store, _ catalog.Manifest) error {
		_, err := s.Tags(ctx, benchName, "v2", 100)
		return err
	})
}

// BenchmarkPutManifest stores new images of known layers, each under a new tag.
func BenchmarkPutManifest(b *testing.B) {
	for _, pushers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("pushers=%d", pushers), func(b *testing.B) {
			s := benchStore(b)
			benchImage(b, s, 0)
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(pushers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := next.Add(1)
					if err := s.PutManifest(b.Context(), benchName, benchImage(b, s, i), []ref.Tag{ref.Tag(fmt.Sprint("v", i))}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkPutBlob stores small blobs, as one request does.
func BenchmarkPutBlob(b *testing.B) {
	s := benchStore(b)
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			content := fmt.Appendf(make([]byte, 0, 16<<10), "%d", next.Add(1))
			blob := catalog.Blob{Digest: ref.SHA256.FromBytes(content), Size: int64(cap(content)), Content: content[:cap(content)]}
			if _, err := s.PutBlob(b.Context(), benchName, blob); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkUpload starts and saves uploads, which need not wait for the disk.
func BenchmarkUpload(b *testing.B) {
	s := benchStore(b)
	var next atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := fmt.Sprint(next.Add(1))
			u := catalog.Upload{ID: id, Name: benchName, Actor: "a", StartedAt: time.Now()}
			if err := s.StartUpload(b.Context(), u); err != nil {
				b.Error(err)
				return
			}
			if err := s.SaveUpload(b.Context(), id, u.Progress, catalog.Progress{Offset: 5, Inline: []byte("12345")}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
