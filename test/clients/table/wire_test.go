// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// wire speaks HTTP to a registry, so that what a client did is judged by nothing
// of the client's.
type wire struct {
	addr string
	as   user
}

// wholeUpTo is the size in bytes up to which a blob is fetched to be checked;
// larger ones are only asked about.
const wholeUpTo = 64 << 20

// do sends a request and returns the answer if it has the status.
func (w wire) do(ctx context.Context, status int, method, path string, header http.Header, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+w.addr+path, body)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.ContentLength = size
	}
	req.SetBasicAuth(w.as.name, w.as.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != status {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s %s: %s, not %d: %s", method, path, resp.Status, status, text)
	}
	return resp, nil
}

// get returns a body.
func (w wire) get(ctx context.Context, path string) ([]byte, error) {
	header := http.Header{"Accept": {"*/*"}}
	resp, err := w.do(ctx, http.StatusOK, http.MethodGet, path, header, nil, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(resp.Body)
	return data, errors.Join(err, resp.Body.Close())
}

// push puts a part under its tag into a repository, such as octocat/octo-app/image.
func (w wire) push(ctx context.Context, repository string, p part) error {
	nodes, err := p.layout.graph(p.root)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.isManifest {
			err = w.pushManifest(ctx, repository, p, n.Descriptor)
		} else {
			err = w.pushBlob(ctx, repository, p, n.Descriptor)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mount puts a part into a repository, with the blobs that another one has.
func (w wire) mount(ctx context.Context, from, repository string, p part) error {
	nodes, err := p.layout.graph(p.root)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.isManifest {
			err = w.pushManifest(ctx, repository, p, n.Descriptor)
		} else {
			var resp *http.Response
			path := "/v2/" + repository + "/blobs/uploads/?mount=" + n.Digest.String() + "&from=" + url.QueryEscape(from)
			if resp, err = w.do(ctx, http.StatusCreated, http.MethodPost, path, nil, nil, 0); err == nil {
				err = resp.Body.Close()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w wire) pushBlob(ctx context.Context, repository string, p part, d ocispec.Descriptor) error {
	resp, err := w.do(ctx, http.StatusAccepted, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil, nil, 0)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	file, err := os.Open(p.layout.path(d.Digest))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	location, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", d.Digest.String())
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	resp, err = w.do(ctx, http.StatusCreated, http.MethodPut, location.Path+"?"+query.Encode(), header, file, d.Size)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (w wire) pushManifest(ctx context.Context, repository string, p part, d ocispec.Descriptor) error {
	data, err := os.ReadFile(p.layout.path(d.Digest))
	if err != nil {
		return err
	}
	path := "/v2/" + repository + "/manifests/" + d.Digest.String()
	if d.Digest == p.root.Digest {
		path += "?tag=" + p.tag
	}
	resp, err := w.do(ctx, http.StatusCreated, http.MethodPut, path, http.Header{"Content-Type": {d.MediaType}}, bytes.NewReader(data), d.Size)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// holds is nil if an image HOST:PORT/NAME:TAG has the bytes of the part, and
// all that belongs to it.
func (w wire) holds(ctx context.Context, image string, p part) error {
	repository, tag := splitImage(image)
	want, err := os.ReadFile(p.layout.path(p.root.Digest))
	if err != nil {
		return err
	}
	got, err := w.get(ctx, "/v2/"+repository+"/manifests/"+tag)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s is another manifest than what was pushed: %s", image, got)
	}
	nodes, err := p.layout.graph(p.root)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Digest == p.root.Digest {
			continue // by its tag: with another algorithm it need not go by this digest
		}
		if err := w.has(ctx, repository, n); err != nil {
			return err
		}
	}
	return nil
}

// has is nil if a repository serves a blob or manifest with its digest.
func (w wire) has(ctx context.Context, repository string, n node) error {
	path := "/v2/" + repository + "/blobs/" + n.Digest.String()
	if n.isManifest {
		path = "/v2/" + repository + "/manifests/" + n.Digest.String()
	}
	if n.Size > wholeUpTo {
		resp, err := w.do(ctx, http.StatusOK, http.MethodHead, path, nil, nil, 0)
		if err != nil {
			return err
		}
		if resp.ContentLength != n.Size {
			return fmt.Errorf("%s has %d bytes, not %d", path, resp.ContentLength, n.Size)
		}
		return resp.Body.Close()
	}
	data, err := w.get(ctx, path)
	if err == nil && n.Digest.Algorithm().FromBytes(data) != n.Digest {
		err = fmt.Errorf("%s came back with another digest", path)
	}
	return err
}

// complete is nil if the registry has all that an image consists of.
func (w wire) complete(ctx context.Context, image string) error {
	var m struct {
		Config            *ocispec.Descriptor
		Layers, Manifests []ocispec.Descriptor
	}
	if _, err := w.manifest(ctx, image, &m); err != nil {
		return err
	}
	name, _ := splitImage(image)
	for _, child := range m.Manifests {
		// A cache's index names layers as well.
		if !strings.Contains(child.MediaType, "manifest") && !strings.Contains(child.MediaType, "index") {
			m.Layers = append(m.Layers, child)
		} else if err := w.complete(ctx, hostOf(image).addr+"/"+name+"@"+child.Digest.String()); err != nil {
			return err
		}
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, d := range m.Layers {
		if err := w.has(ctx, name, node{d, false}); err != nil {
			return err
		}
	}
	return nil
}

// manifest fetches and decodes a manifest or index.
func (w wire) manifest(ctx context.Context, image string, into any) (digest.Digest, error) {
	repository, reference := splitImage(image)
	data, err := w.get(ctx, "/v2/"+repository+"/manifests/"+reference)
	if err != nil {
		return "", err
	}
	return digest.FromBytes(data), json.Unmarshal(data, into)
}

// referrers lists the digests of what refers to a manifest, sorted.
func (w wire) referrers(ctx context.Context, repository string, d digest.Digest) ([]string, error) {
	data, err := w.get(ctx, "/v2/"+repository+"/referrers/"+d.String())
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, err
	}
	var digests []string
	for _, m := range index.Manifests {
		digests = append(digests, m.Digest.String())
	}
	slices.Sort(digests)
	return digests, nil
}

// gone is nil if an image is not there.
func (w wire) gone(ctx context.Context, image string) error {
	repository, reference := splitImage(image)
	resp, err := w.do(ctx, http.StatusNotFound, http.MethodHead, "/v2/"+repository+"/manifests/"+reference, nil, nil, 0)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// splitImage splits HOST:PORT/NAME:TAG or HOST:PORT/NAME@DIGEST into NAME and the rest.
func splitImage(image string) (name, reference string) {
	_, path, _ := strings.Cut(image, "/")
	if name, reference, found := strings.Cut(path, "@"); found {
		return name, reference
	}
	name, reference, _ = strings.Cut(path, ":")
	return name, reference
}
