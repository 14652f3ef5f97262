// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// checksums lists every other file of a release, as sha256sum -c reads it.
const checksums = "SHA256SUMS"

// installFile is what kubectl applies.
const installFile = "install.yaml"

// sampleImage is the image in config/default.
const sampleImage = "packages-operator:dev"

// release is what goes into one, and then what it consists of.
type release struct {
	source source
	// name is the image's, without a tag.
	name     string
	programs []program
	// dockerfile says what the image is, and manifests what kubectl applies.
	dockerfile, manifests []byte
	// chart is the chart's folder; it may be missing.
	chart fs.FS

	index indexed
	// bills are the programs' bills of materials, in the programs' order.
	bills [][]byte
	// files are those beside the programs.
	files []packed
	// chartPackage is the file among them that is the chart, if there is one.
	chartPackage *packed
}

// assemble makes all but the programs.
func assemble(r release) (*release, error) {
	if _, err := name.NewRepository(r.name); err != nil || strings.Contains(r.name, "@") {
		return nil, fmt.Errorf("%q is no name for an image: write such as docker.packages.example.com/octocat/octo-app/packages-operator, without a tag", r.name)
	}
	recipe, err := readDockerfile(r.dockerfile)
	if err != nil {
		return nil, err
	}
	if r.index, err = newIndex(recipe, r.programs, r.source); err != nil {
		return nil, err
	}
	for _, p := range r.programs {
		bill, err := billOf(p, r.source)
		if err != nil {
			return nil, err
		}
		r.bills = append(r.bills, bill)
		r.files = append(r.files, packed{p.file() + spdxFile, bill})
	}
	archive, err := r.archive()
	if err != nil {
		return nil, fmt.Errorf("packing the image: %w", err)
	}
	r.files = append(r.files, packed{operator + "_image.tar", archive})
	manifests, err := r.manifest()
	if err != nil {
		return nil, err
	}
	r.files = append(r.files, packed{installFile, manifests})
	r.chartPackage, err = packChart(r.chart, r.source, r.name, r.index.digest.String())
	if err != nil {
		return nil, err
	}
	if r.chartPackage != nil {
		r.files = append(r.files, *r.chartPackage)
	}
	return &r, nil
}

// archive is the image as an OCI layout in a tar file, which skopeo (oci-archive:),
// ctr, podman and newer versions of docker load.
func (r *release) archive() ([]byte, error) {
	folder, err := os.MkdirTemp("", "release-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	path, err := layout.Write(folder, emptyIndex())
	if err != nil {
		return nil, err
	}
	if err := path.AppendIndex(r.index.index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": r.source.version,
		// What containerd and docker call the image.
		"io.containerd.image.name": r.tag(),
	})); err != nil {
		return nil, err
	}
	files, err := filesIn(os.DirFS(folder), "", nil)
	if err != nil {
		return nil, err
	}
	return tarOf(files, r.source.time)
}

// tag is the image's name with the version.
func (r *release) tag() string { return r.name + ":" + tagOf(r.source.version) }

// tagOf writes a version as a tag, which may not have a plus sign; Helm does so too.
func tagOf(version string) string { return strings.ReplaceAll(version, "+", "_") }

// manifest is what kubectl applies, with the image by its digest: for the manager, and
// for the registries that it deploys.
func (r *release) manifest() ([]byte, error) {
	const uses = 2
	if found := bytes.Count(r.manifests, []byte(sampleImage)); found != uses {
		return nil, fmt.Errorf("config/default names the image %s %d times, not %d", sampleImage, found, uses)
	}
	head := fmt.Sprintf("# packages-operator %s: kubectl apply --server-side -f install.yaml\n", r.source.version)
	return append([]byte(head), bytes.ReplaceAll(r.manifests, []byte(sampleImage), []byte(r.name+"@"+r.index.digest.String()))...), nil
}

// write puts everything into the folder that has the programs.
func (r *release) write(folder string) error {
	files := slices.Clone(r.files)
	for _, p := range r.programs {
		content, err := os.ReadFile(p.path)
		if err != nil {
			return err
		}
		if p.path != filepath.Join(folder, p.file()) {
			if err := os.WriteFile(filepath.Join(folder, p.file()), content, 0o755); err != nil {
				return err
			}
		}
		files = append(files, packed{p.file(), content})
	}
	slices.SortFunc(files, func(a, b packed) int { return strings.Compare(a.name, b.name) })
	var sums bytes.Buffer
	for _, file := range files {
		sum := sha256.Sum256(file.content)
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), file.name)
	}
	for _, file := range append(r.files, packed{checksums, sums.Bytes()}) {
		if err := os.WriteFile(filepath.Join(folder, file.name), file.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
