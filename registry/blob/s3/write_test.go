// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/packages-operator/packages-operator/registry/blob"
	"github.com/packages-operator/packages-operator/registry/blob/blobtest"
	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
)

const part = s3.MinPartSize

func create(t *testing.T, s *s3.Store) blob.Partial {
	t.Helper()
	p, err := s.Create(t.Context())
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return p
}

func appendTo(t *testing.T, s *s3.Store, p blob.Partial, content []byte) blob.Partial {
	t.Helper()
	next, err := s.Append(t.Context(), p, bytes.NewReader(content))
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	if next.Size != p.Size+int64(len(content)) {
		t.Fatalf("Append of %d bytes behind %d returned a size of %d", len(content), p.Size, next.Size)
	}
	return next
}

func commit(t *testing.T, s *s3.Store, p blob.Partial) {
	t.Helper()
	if err := s.Commit(t.Context(), p); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

func wantContent(t *testing.T, s *s3.Store, key string, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("the object has other content than its %d bytes (it has %d)", len(want), len(got))
	}
}

// left lists what the bucket has: objects by name, and multipart uploads as
// "upload of NAME".
func left(t *testing.T, server *s3test.Server, prefix string) []string {
	t.Helper()
	client := server.Client()
	objects, err := client.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String(s3test.Bucket), Prefix: &prefix})
	if err != nil {
		t.Fatal(err)
	}
	uploads, err := client.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: aws.String(s3test.Bucket), Prefix: &prefix})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, object := range objects.Contents {
		names = append(names, strings.TrimPrefix(*object.Key, prefix))
	}
	for _, upload := range uploads.Uploads {
		names = append(names, "upload of "+strings.TrimPrefix(*upload.Key, prefix))
	}
	slices.Sort(names)
	return names
}

// count is how many of the names contain the text.
func count(names []string, text string) int {
	n := 0
	for _, name := range names {
		if strings.Contains(name, text) {
			n++
		}
	}
	return n
}

func TestContentOfAnySizeAndAnyChunksIsKept(t *testing.T) {
	server := s3test.Start(t)
	for _, test := range []struct {
		name        string
		chunks      []int
		wantUploads int
	}{
		{"one byte less than a part", []int{part - 1}, 0},
		{"a part", []int{part}, 1},
		{"one byte more than a part", []int{part + 1}, 1},
		{"two parts", []int{2 * part}, 1},
		{"three parts and a byte", []int{3*part + 1}, 1},
		{"chunks of a part", []int{part, part, part}, 1},
		{"chunks of half a part", []int{part / 2, part / 2, part / 2}, 1},
		{"chunks that fill a part to the byte", []int{1, part - 1, 1}, 1},
		{"a chunk that crosses parts", []int{part - 1, part + 2, 5}, 1},
		{"small chunks", []int{1, 2, 3, 4}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startProxy(t, server)
			o := p.through(options(server))
			o.Prefix = strings.ReplaceAll(test.name, " ", "-")
			s := open(t, o)
			p.taken()
			var content []byte
			partial := create(t, s)
			for i, n := range test.chunks {
				chunk := blobtest.Content(uint64(i), n)
				content = append(content, chunk...)
				partial = appendTo(t, s, partial, chunk)
				if tails := count(left(t, server, o.Prefix+"/tails/"), ""); tails > 2 {
					t.Errorf("after chunk %d there are %d tails, want at most the one needed and the one before", i, tails)
				}
			}
			commit(t, s, partial)
			wantContent(t, s, partial.Key, content)
			taken := p.taken()
			if got := count(taken, "CreateMultipartUpload"); got != test.wantUploads {
				t.Errorf("there were %d multipart uploads, want %d", got, test.wantUploads)
			}
			if got, want := left(t, server, o.Prefix+"/"), []string{"instance", "objects/" + partial.Key}; !slices.Equal(got, want) {
				t.Errorf("the bucket has %q, want %q", got, want)
			}
		})
	}
}

func TestContentThatFitsAPartTakesOneRequestAndOneToCheckIt(t *testing.T) {
	server := s3test.Start(t)
	p := startProxy(t, server)
	s := open(t, p.through(options(server)))
	p.taken()
	partial := appendTo(t, s, create(t, s), blobtest.Content(1, 100_000))
	commit(t, s, partial)
	if got, want := p.taken(), []string{"PUT object", "HEAD object"}; !slices.Equal(got, want) {
		t.Errorf("requests were %q, want %q", got, want)
	}
}

func TestCommitMovesNoBytes(t *testing.T) {
	server := s3test.Start(t)
	p := startProxy(t, server)
	s := open(t, p.through(options(server)))
	partial := appendTo(t, s, create(t, s), blobtest.Content(1, 2*part+100))
	p.taken()
	commit(t, s, partial)
	if got, want := p.taken(), []string{"CompleteMultipartUpload", "HEAD object", "DELETE tail"}; !slices.Equal(got, want) {
		t.Errorf("requests were %q, want %q", got, want)
	}
}

func TestAnotherReplicaContinues(t *testing.T) {
	server := s3test.Start(t)
	o := options(server)
	replicas := []*s3.Store{open(t, o), open(t, o), open(t, o)}
	content := blobtest.Content(1, 4*part+3)
	cuts := []int{0, 100, part + 50, part + 60, 3 * part, len(content)}
	p := create(t, replicas[0])
	for i := range len(cuts) - 1 {
		// Each replica also writes what nobody records, as if it died after that.
		appendTo(t, replicas[(i+2)%3], p, blobtest.Content(uint64(90+i), part+7))
		p = appendTo(t, replicas[i%3], p, content[cuts[i]:cuts[i+1]])
	}
	commit(t, replicas[1], p)
	wantContent(t, replicas[2], p.Key, content)
}

// diverge gives two replicas the same object, that each continues by itself.
func diverge(t *testing.T, server *s3test.Server, recorded int) (a, b *s3.Store, first, second blob.Partial, content []byte) {
	t.Helper()
	o := options(server)
	a, b = open(t, o), open(t, o)
	content = blobtest.Content(1, recorded)
	p := appendTo(t, a, create(t, a), content)
	mine := blobtest.Content(2, part)
	first = appendTo(t, a, p, mine)
	second = appendTo(t, b, p, blobtest.Content(3, part))
	return a, b, first, second, append(content, mine...)
}

func TestOneOfTwoReplicasCompletesAnObject(t *testing.T) {
	server := s3test.Start(t)
	t.Run("each with a multipart upload of its own", func(t *testing.T) {
		a, b, first, second, content := diverge(t, server, 1000)
		commit(t, a, first)
		if err := b.Commit(t.Context(), second); err == nil {
			t.Error("the second Commit replaced what the first had completed")
		}
		wantContent(t, b, first.Key, content)
		commit(t, a, first)
	})
	t.Run("both in one multipart upload", func(t *testing.T) {
		a, b, first, second, _ := diverge(t, server, part+1000)
		// The second wrote over the first's parts, so that only it can complete them.
		if err := a.Commit(t.Context(), first); err == nil {
			t.Fatal("Commit made an object of parts that another replica had written")
		}
		commit(t, b, second)
		if err := a.Commit(t.Context(), first); err == nil {
			t.Error("Commit took another replica's object of the same size for its own")
		}
		commit(t, b, second)
	})
}

// Storage that is only like AWS's often does not know the SDK's checksums.
func TestNoRequestHasChecksumsThatStorageNeedNotKnow(t *testing.T) {
	server := s3test.Start(t)
	p := startProxy(t, server)
	var mu sync.Mutex
	var found []string
	p.set(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Amz-Checksum") || name == "X-Amz-Sdk-Checksum-Algorithm" || name == "X-Amz-Trailer" {
				found = append(found, operation(r)+" "+name)
			}
		}
		return false
	})
	s := open(t, p.through(options(server)))
	content := blobtest.Content(1, 2*part+5)
	partial := create(t, s)
	for _, until := range []int{5, part, len(content)} {
		partial = appendTo(t, s, partial, content[partial.Size:until])
	}
	commit(t, s, partial)
	wantContent(t, s, partial.Key, content)
	if err := s.Delete(t.Context(), partial.Key); err != nil {
		t.Fatal(err)
	}
	if mu.Lock(); len(found) > 0 {
		t.Errorf("requests with checksums: %q", found)
	}
	mu.Unlock()
	if taken := p.taken(); len(taken) < 5 {
		t.Errorf("only %q were looked at", taken)
	}
}

func TestALostAnswerToCompleteIsResolved(t *testing.T) {
	server := s3test.Start(t)
	p := startProxy(t, server)
	s := open(t, p.through(options(server)))
	content := blobtest.Content(1, 2*part+5)
	partial := appendTo(t, s, create(t, s), content)
	p.loseAnswers("CompleteMultipartUpload")
	commit(t, s, partial)
	commit(t, s, partial)
	wantContent(t, s, partial.Key, content)
	if taken := p.taken(); count(taken, "GET object") != 1 || count(taken, "PUT object") != 0 {
		t.Errorf("content was read or written again: %q", taken)
	}
}

func TestALostCompleteIsAnErrorAndCanBeRepeated(t *testing.T) {
	server := s3test.Start(t)
	p := startProxy(t, server)
	s := open(t, p.through(options(server)))
	content := blobtest.Content(1, part+5)
	for _, recorded := range []int{0, 10} {
		partial := create(t, s)
		if recorded > 0 {
			// The object's place is taken by its first bytes.
			partial = appendTo(t, s, partial, content[:recorded])
		}
		partial = appendTo(t, s, partial, content[recorded:])
		p.loseRequests("CompleteMultipartUpload")
		if err := s.Commit(t.Context(), partial); err == nil {
			t.Fatal("Commit succeeded without the storage")
		}
		p.set(nil)
		commit(t, s, partial)
		wantContent(t, s, partial.Key, content)
	}
}

func TestALostAnswerToAWholeObjectIsResolved(t *testing.T) {
	server := s3test.Start(t)
	p := startProxy(t, server)
	s := open(t, p.through(options(server)))
	lost := false
	p.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if lost || operation(r) != "PUT object" {
			return false
		}
		lost = true
		p.forward.ServeHTTP(discardResponse{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	})
	content := blobtest.Content(1, 1000)
	partial := appendTo(t, s, create(t, s), content)
	commit(t, s, partial)
	wantContent(t, s, partial.Key, content)
	if taken := p.taken(); count(taken, "PUT object") != 2 {
		t.Errorf("requests were %q, want the PUT and its repetition", taken)
	}
}

// discardResponse is nowhere.
type discardResponse struct{ header http.Header }

func (d discardResponse) Header() http.Header         { return d.header }
func (d discardResponse) Write(p []byte) (int, error) { return len(p), nil }
func (d discardResponse) WriteHeader(int)             {}

func TestAbandonedUploadsAreListedAndAborted(t *testing.T) {
	server := s3test.Start(t)
	o := options(server)
	s := open(t, o)
	s.StartEpoch(7)
	partial := appendTo(t, s, create(t, s), blobtest.Content(1, part+100))
	// A second process began a multipart upload of its own, unrecorded.
	small := appendTo(t, s, create(t, s), blobtest.Content(2, 100))
	for range 2 {
		appendTo(t, open(t, o), small, blobtest.Content(3, part))
	}
	if got := left(t, server, o.Prefix+"/"); count(got, "upload of") != 3 || count(got, "tails/") != 3 {
		t.Fatalf("the bucket has %q, want three uploads and three tails", got)
	}
	var keys []string
	for key, err := range open(t, o).Keys(t.Context(), 7) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	want := []string{partial.Key, small.Key}
	slices.Sort(want)
	if !slices.Equal(keys, want) {
		t.Errorf("Keys lists %q, want each of %q once", keys, want)
	}
	for _, key := range keys {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got := left(t, server, o.Prefix+"/"); !slices.Equal(got, []string{"instance"}) {
		t.Errorf("the bucket still has %q", got)
	}
}

func TestAFailedAppendLeavesNothing(t *testing.T) {
	server := s3test.Start(t)
	p := startProxy(t, server)
	o := p.through(options(server))
	s := open(t, o)
	for _, test := range []struct {
		operation string
		status    int
		code      string
	}{
		{"UploadPart", http.StatusForbidden, "QuotaExceeded"},
		{"UploadPart", http.StatusBadRequest, "EntityTooLarge"},
		{"PUT tail", http.StatusInsufficientStorage, "XMinioStorageFull"},
		{"CreateMultipartUpload", http.StatusInsufficientStorage, "Whatever"},
	} {
		t.Run(test.operation+" "+test.code, func(t *testing.T) {
			p.answerError(test.operation, test.status, test.code)
			partial := create(t, s)
			got, err := s.Append(t.Context(), partial, bytes.NewReader(blobtest.Content(1, 3*part+10)))
			if !errors.Is(err, blob.ErrNoSpace) || got.Size != 0 || got.State != nil {
				t.Errorf("Append returned %+v, %v; want the partial as it was and ErrNoSpace", got, err)
			}
			p.set(nil)
			if names := left(t, server, o.Prefix+"/"); !slices.Equal(names, []string{"instance"}) {
				t.Errorf("the bucket has %q", names)
			}
		})
	}
	t.Run("of an object that has bytes", func(t *testing.T) {
		content := blobtest.Content(1, part+1000)
		partial := appendTo(t, s, create(t, s), content)
		p.answerError("UploadPart", http.StatusForbidden, "QuotaExceeded")
		got, err := s.Append(t.Context(), partial, bytes.NewReader(blobtest.Content(2, 2*part)))
		if !errors.Is(err, blob.ErrNoSpace) || got.Size != partial.Size {
			t.Errorf("Append returned a size of %d, %v; want the partial as it was and ErrNoSpace", got.Size, err)
		}
		p.set(nil)
		commit(t, s, partial)
		wantContent(t, s, partial.Key, content)
	})
}

func TestManyUploadsShareTheMemory(t *testing.T) {
	server := s3test.Start(t)
	for _, memory := range []int64{1, part, 3 * part} {
		o := options(server)
		o.Memory, o.SpoolDir = memory, t.TempDir()
		s := open(t, o)
		var all sync.WaitGroup
		failures := make(chan error, 6)
		for i := range cap(failures) {
			all.Go(func() {
				failures <- roundTrip(t.Context(), s, blobtest.Content(uint64(i), 3*part+i))
			})
		}
		all.Wait()
		close(failures)
		for err := range failures {
			if err != nil {
				t.Errorf("with memory for %d bytes: %v", memory, err)
			}
		}
		if files, err := os.ReadDir(o.SpoolDir); err != nil || len(files) != 0 {
			t.Errorf("the spool directory has %v (%v), want nothing", files, err)
		}
	}
}

func TestASlowUploadDoesNotHoldUpOthers(t *testing.T) {
	o := options(s3test.Start(t))
	o.Memory, o.SpoolDir = part, t.TempDir()
	s := open(t, o)
	slow, client := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), create(t, s), slow)
		ended <- err
	}()
	if _, err := client.Write([]byte("it begins, and takes the memory")); err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(t.Context(), s, blobtest.Content(1, 2*part+7)); err != nil {
		t.Error(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestASpoolDirectoryThatIsMissingIsSaid(t *testing.T) {
	o := options(s3test.Start(t))
	o.Memory, o.SpoolDir = 1, filepath.Join(t.TempDir(), "missing")
	s := open(t, o)
	p := create(t, s)
	if got, err := s.Append(t.Context(), p, strings.NewReader("content")); err == nil || !strings.Contains(err.Error(), o.SpoolDir) || got.Size != 0 {
		t.Errorf("Append returned %+v, %v; want the directory to be named", got, err)
	}
}

func roundTrip(ctx context.Context, s *s3.Store, content []byte) error {
	p, err := s.Create(ctx)
	if err != nil {
		return err
	}
	for _, piece := range [][]byte{content[:len(content)/2], content[len(content)/2:]} {
		if p, err = s.Append(ctx, p, bytes.NewReader(piece)); err != nil {
			return err
		}
	}
	if err := s.Commit(ctx, p); err != nil {
		return err
	}
	r, err := s.OpenSized(ctx, p.Key, p.Size)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if !bytes.Equal(got, content) {
		return fmt.Errorf("object %s has other bytes than were written", p.Key)
	}
	return nil
}

func TestAMultipartUploadCanBeReadBeforeCommit(t *testing.T) {
	server := s3test.Start(t)
	s := open(t, options(server))
	content := blobtest.Content(1, part+1000)
	p := appendTo(t, s, create(t, s), content)
	r, err := s.OpenPartial(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("read %d bytes (%v), want the %d that are durable", len(got), err, len(content))
	}
	if next, err := s.Append(t.Context(), p, strings.NewReader("more")); !errors.Is(err, blob.ErrNotFound) || next.Size != p.Size {
		t.Errorf("Append returned a size of %d, %v; want the partial as it was and ErrNotFound", next.Size, err)
	}
	commit(t, s, p)
	wantContent(t, s, p.Key, content)
}

func TestAStateThatDoesNotFitIsRefused(t *testing.T) {
	s := open(t, options(s3test.Start(t)))
	whole := appendTo(t, s, create(t, s), []byte("content"))
	parts := appendTo(t, s, create(t, s), blobtest.Content(1, part+1))
	for name, p := range map[string]blob.Partial{
		"no JSON":            {Key: whole.Key, Size: 7, State: []byte("{")},
		"bytes without one":  {Key: whole.Key, Size: 7},
		"more than there is": {Key: parts.Key, Size: parts.Size + part, State: parts.State},
		"less than there is": {Key: parts.Key, Size: part - 1, State: parts.State},
		"no tail for bytes":  {Key: parts.Key, Size: part, State: parts.State},
	} {
		if _, err := s.Append(t.Context(), p, strings.NewReader("more")); err == nil {
			t.Errorf("%s: Append took the state", name)
		}
		if err := s.Commit(t.Context(), p); err == nil {
			t.Errorf("%s: Commit took the state", name)
		}
	}
}
