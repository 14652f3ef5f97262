// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// chartFolder is where the chart is, if the project has one.
const chartFolder = "charts/packages-operator"

// chartMetadata is what a package needs of Chart.yaml.
type chartMetadata struct {
	Name string `json:"name"`
}

// packChart makes the package that helm package would make, without the times that
// this writes into it. It is nil for a folder that is not there.
func packChart(folder fs.FS, s source, image, digest string) (*packed, error) {
	text, err := fs.ReadFile(folder, "Chart.yaml")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the chart: %w", err)
	}
	var metadata chartMetadata
	if err := yaml.Unmarshal(text, &metadata); err != nil {
		return nil, fmt.Errorf("reading Chart.yaml: %w", err)
	}
	ignored, err := helmIgnore(folder)
	if err != nil {
		return nil, err
	}
	files, err := filesIn(folder, metadata.Name, ignored)
	if err != nil {
		return nil, fmt.Errorf("reading the chart: %w", err)
	}
	version := chartVersion(s.version)
	for i := range files {
		switch files[i].name {
		case path.Join(metadata.Name, "Chart.yaml"):
			files[i].content, err = setLines(files[i].content, map[string]string{"version": version, "appVersion": s.version})
		case path.Join(metadata.Name, "values.yaml"):
			files[i].content, err = setImage(files[i].content, image, digest)
		}
		if err != nil {
			return nil, fmt.Errorf("packing the chart: %s: %w", files[i].name, err)
		}
	}
	archive, err := tarOf(files, s.time)
	if err != nil {
		return nil, fmt.Errorf("packing the chart: %w", err)
	}
	archive, err = gzipOf(archive)
	if err != nil {
		return nil, fmt.Errorf("packing the chart: %w", err)
	}
	return &packed{metadata.Name + "-" + version + ".tgz", archive}, nil
}

var semantic = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)$`)

// chartVersion is a version as Helm wants it: semantic, even between releases.
func chartVersion(version string) string {
	if found := semantic.FindStringSubmatch(version); found != nil {
		return found[1]
	}
	return "0.0.0-" + regexp.MustCompile(`[^0-9A-Za-z.-]`).ReplaceAllString("g"+version, "-")
}

// setLines replaces the values of keys that begin a line.
func setLines(text []byte, values map[string]string) ([]byte, error) {
	var out bytes.Buffer
	done := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		key, _, found := strings.Cut(line, ":")
		if value, ok := values[key]; found && ok {
			fmt.Fprintf(&out, "%s: %q\n", key, value)
			done[key] = true
			continue
		}
		out.WriteString(line)
	}
	for key := range values {
		if !done[key] {
			return nil, fmt.Errorf("no line begins with the key %s", key)
		}
	}
	return out.Bytes(), nil
}

// helmIgnore reads the patterns of .helmignore that name files and folders; what
// it does not understand is an error, so that nothing slips in.
func helmIgnore(folder fs.FS) (func(string) bool, error) {
	text, err := fs.ReadFile(folder, ".helmignore")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading .helmignore: %w", err)
	}
	patterns := []string{".helmignore"}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern := strings.Trim(line, "/")
		if strings.ContainsAny(line, "!") || strings.Contains(pattern, "**") {
			return nil, fmt.Errorf(".helmignore: the pattern %q is not understood: teach hack/release", line)
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf(".helmignore: the pattern %q: %w", line, err)
		}
		patterns = append(patterns, pattern)
	}
	return func(name string) bool {
		for _, pattern := range patterns {
			if strings.Contains(pattern, "/") {
				if ok, _ := path.Match(pattern, name); ok {
					return true
				}
			} else if ok, _ := path.Match(pattern, path.Base(name)); ok {
				return true
			}
		}
		return false
	}, nil
}

// setImage has the chart's values name the image of the release.
func setImage(values []byte, image, digest string) ([]byte, error) {
	wanted := map[string]string{"  repository": image, "  digest": digest}
	var out bytes.Buffer
	inside := false
	for line := range strings.Lines(string(values)) {
		if !strings.HasPrefix(line, " ") && strings.TrimSpace(line) != "" {
			inside = strings.TrimSpace(line) == "image:"
		}
		key, _, _ := strings.Cut(line, ":")
		if value, ok := wanted[key]; inside && ok {
			fmt.Fprintf(&out, "%s: %s\n", key, value)
			delete(wanted, key)
			continue
		}
		out.WriteString(line)
	}
	for key := range wanted {
		return nil, fmt.Errorf("image has no %s", strings.TrimSpace(key))
	}
	return out.Bytes(), nil
}
