// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// What clients do with a registry (OCI Distribution 1.1), in the requests that
// docker makes.

func pullScope(name string) string { return "repository:" + name + ":pull" }
func pushScope(name string) string { return "repository:" + name + ":pull,push" }

func getBlob(name, digest string) request {
	return request{method: http.MethodGet, path: "/v2/" + name + "/blobs/" + digest, scope: pullScope(name), want: http.StatusOK}
}

// getManifest is for a tag or a digest.
func getManifest(name, reference string) request {
	return request{
		method: http.MethodGet, path: "/v2/" + name + "/manifests/" + reference, scope: pullScope(name),
		accept: manifestType + ", " + indexType, want: http.StatusOK,
	}
}

// with is the request with another method.
func (r request) with(method string) request {
	r.method = method
	return r
}

// pushBlob uploads a blob as docker does: POST, one PATCH, PUT.
func (c *client) pushBlob(ctx context.Context, name string, blob *content) error {
	location, err := c.sendBlob(ctx, name, blob)
	if err != nil {
		return err
	}
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	_, _, err = c.do(ctx, request{
		method: http.MethodPut, path: location + separator + url.Values{"digest": {blob.digest}}.Encode(),
		scope: pushScope(name), want: http.StatusCreated,
	})
	return err
}

// sendBlob begins an upload and sends all bytes. It returns where the upload ends.
func (c *client) sendBlob(ctx context.Context, name string, blob *content) (location string, err error) {
	header, _, err := c.do(ctx, request{
		method: http.MethodPost, path: "/v2/" + name + "/blobs/uploads/", scope: pushScope(name), want: http.StatusAccepted,
	})
	if err != nil {
		return "", err
	}
	if location, err = c.location(header); err != nil {
		return "", err
	}
	header, _, err = c.do(ctx, request{
		method: http.MethodPatch, path: location, scope: pushScope(name),
		contentType: "application/octet-stream", body: blob, want: http.StatusAccepted,
	})
	if err != nil {
		return "", err
	}
	return c.location(header)
}

// location is a Location header without the host: the registry stays the one that
// was named.
func (c *client) location(header http.Header) (string, error) {
	location, err := c.base.Parse(header.Get("Location"))
	if err != nil || header.Get("Location") == "" {
		return "", fmt.Errorf("the Location %q is no URL", header.Get("Location"))
	}
	return location.RequestURI(), nil
}

func (c *client) cancelUpload(ctx context.Context, name, location string) error {
	_, _, err := c.do(ctx, request{method: http.MethodDelete, path: location, scope: pushScope(name), want: http.StatusNoContent})
	return err
}

func (c *client) pushManifest(ctx context.Context, name, reference string, manifest *content) error {
	_, _, err := c.do(ctx, request{
		method: http.MethodPut, path: "/v2/" + name + "/manifests/" + reference, scope: pushScope(name),
		contentType: manifestType, body: manifest, want: http.StatusCreated,
	})
	return err
}

// pushImage pushes what the registry does not have yet: docker asks first.
func (c *client) pushImage(ctx context.Context, name, tag string, img *image) error {
	for _, blob := range img.blobs() {
		has, err := c.hasBlob(ctx, name, blob.digest)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		if err := c.pushBlob(ctx, name, blob); err != nil {
			return err
		}
	}
	return c.pushManifest(ctx, name, tag, img.manifest)
}

func (c *client) hasBlob(ctx context.Context, name, digest string) (bool, error) {
	head := getBlob(name, digest).with(http.MethodHead)
	head.scope = pushScope(name)
	_, _, err := c.do(ctx, head)
	var answer *statusError
	if errors.As(err, &answer) && answer.status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// pullImage pulls an image by its tag and returns the number of bytes.
func (c *client) pullImage(ctx context.Context, name, tag string, img *image) (int64, error) {
	_, total, err := c.do(ctx, getManifest(name, tag))
	if err != nil {
		return 0, err
	}
	for _, blob := range img.blobs() {
		_, n, err := c.do(ctx, getBlob(name, blob.digest))
		if err != nil {
			return 0, err
		}
		total += n
	}
	if total != img.size() {
		return 0, fmt.Errorf("pulled %d bytes of an image that has %d", total, img.size())
	}
	return total, nil
}
