// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"runtime"
)

// ImageFile is one file of an image, by its path inside.
type ImageFile struct {
	Path string
	Data []byte
	Mode int64
}

// ImageConfig is the part of an image's configuration that local images use.
type ImageConfig struct {
	User       string   `json:"User,omitempty"`
	Entrypoint []string `json:"Entrypoint,omitempty"`
	Cmd        []string `json:"Cmd,omitempty"`
	WorkingDir string   `json:"WorkingDir,omitempty"`
}

// WriteImageArchive writes a docker archive (what docker load and ctr import
// read) with one image of one layer on nothing. The result depends on the
// arguments alone. Directories come from the files' paths.
func WriteImageArchive(path, reference string, config ImageConfig, files []ImageFile) error {
	layer, err := tarOf(files)
	if err != nil {
		return err
	}
	diffID := sha256.Sum256(layer)
	configJSON, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       config,
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(diffID[:])}},
	})
	if err != nil {
		return err
	}
	configSum := sha256.Sum256(configJSON)
	configName := hex.EncodeToString(configSum[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{reference}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return err
	}
	archive, err := tarOf([]ImageFile{
		{Path: configName, Data: configJSON, Mode: 0o644},
		{Path: "layer.tar", Data: layer, Mode: 0o644},
		{Path: "manifest.json", Data: manifest, Mode: 0o644},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, archive, 0o644)
}

func tarOf(files []ImageFile) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: f.Mode, Size: int64(len(f.Data)), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
