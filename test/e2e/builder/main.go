// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Builder is a build in a pod. It makes an image, pushes it and pulls it back, with
// the token of its ServiceAccount as the password and nothing stored:
//
//	builder TOKEN-FILE CA-FILE IMAGE
//
// It prints the image's digest, or why it failed.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: builder TOKEN-FILE CA-FILE IMAGE")
		os.Exit(2)
	}
	digest, err := run(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println(digest)
}

func run(tokenFile, authorities, reference string) (v1.Hash, error) {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return v1.Hash{}, err
	}
	pem, err := os.ReadFile(authorities)
	if err != nil {
		return v1.Hash{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	options := []remote.Option{
		remote.WithAuth(&authn.Basic{Username: "builder", Password: strings.TrimSpace(string(token))}),
		remote.WithTransport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}),
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		return v1.Hash{}, err
	}
	image, err := build()
	if err != nil {
		return v1.Hash{}, err
	}
	if err := remote.Write(tag, image, options...); err != nil {
		return v1.Hash{}, fmt.Errorf("pushing: %w", err)
	}
	pulled, err := remote.Image(tag, options...)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("pulling: %w", err)
	}
	layers, err := pulled.Layers()
	if err != nil {
		return v1.Hash{}, err
	}
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			return v1.Hash{}, fmt.Errorf("pulling: %w", err)
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return v1.Hash{}, fmt.Errorf("pulling: %w", err)
		}
	}
	return pulled.Digest()
}

// build makes an image of one file: the name of the pod.
func build() (v1.Image, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "built-by", Mode: 0o644, Size: int64(len(host))}); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, host); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	content, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(empty.Image, content)
}
