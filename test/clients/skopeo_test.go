// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// skopeo is the command, which Debian packages.
type skopeo struct{ program, home string }

func newSkopeo(t *testing.T) tool {
	t.Helper()
	program, err := exec.LookPath("skopeo")
	if err != nil {
		t.Fatal("skopeo is not installed; run: hack/apt.sh clients")
	}
	return skopeo{program: program, home: t.TempDir()}
}

// run returns what a command of skopeo writes to standard output; its error says
// what it wrote to standard error.
func (s skopeo) run(ctx context.Context, as user, host string, arguments ...string) (string, error) {
	auth, err := os.CreateTemp(s.home, "auth-*.json")
	if err != nil {
		return "", err
	}
	entry := base64.StdEncoding.EncodeToString([]byte(as.name + ":" + as.value))
	if _, err := fmt.Fprintf(auth, `{"auths":{%q:{"auth":%q}}}`, host, entry); err != nil {
		return "", err
	}
	if err := auth.Close(); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, s.program, append([]string{"--insecure-policy", "--tmpdir", s.home}, arguments...)...)
	// Its cache of where blobs are stays in the test's directory.
	cmd.Env = append(os.Environ(), "REGISTRY_AUTH_FILE="+auth.Name(), "HOME="+s.home, "XDG_DATA_HOME="+s.home, "_CONTAINERS_ROOTLESS_UID=1000")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = errors.Join(err, errors.New(stderr.String()))
	}
	return string(out), err
}

// host is the host and port of an image.
func host(image string) string { h, _, _ := strings.Cut(image, "/"); return h }

func (s skopeo) push(ctx context.Context, as user, dir, image string) error {
	_, err := s.run(ctx, as, host(image), "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci:"+dir+":"+nameInLayout, "docker://"+image)
	return err
}

func (s skopeo) pull(ctx context.Context, as user, image, dir string) error {
	_, err := s.run(ctx, as, host(image), "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+image, "oci:"+dir+":"+nameInLayout)
	return err
}

func (s skopeo) tags(ctx context.Context, as user, repository string) ([]string, error) {
	out, err := s.run(ctx, as, host(repository), "list-tags", "--tls-verify=false", "docker://"+repository)
	if err != nil {
		return nil, err
	}
	var list struct{ Tags []string }
	err = json.Unmarshal([]byte(out), &list)
	return list.Tags, err
}

func (s skopeo) remove(ctx context.Context, as user, image string) error {
	_, err := s.run(ctx, as, host(image), "delete", "--tls-verify=false", "docker://"+image)
	return err
}

func TestSkopeoInspectsAndConverts(t *testing.T) {
	r, ctx := start(t), t.Context()
	s := newSkopeo(t).(skopeo)
	layout := writeImage(t, imageOf(t, 3, 1000))
	image := r.Image("octocat/octo-app/skopeo:1.0")
	if err := s.push(ctx, monalisa, layout, image); err != nil {
		t.Fatal(err)
	}
	out, err := s.run(ctx, hubot, r.Addr, "inspect", "--tls-verify=false", "docker://"+image)
	if err != nil {
		t.Fatal(err)
	}
	var inspected struct {
		Name, Digest, Architecture string
		RepoTags, Layers           []string
	}
	if err := json.Unmarshal([]byte(out), &inspected); err != nil {
		t.Fatal(err)
	}
	if inspected.Digest != root(t, layout).Digest.String() || inspected.Architecture != "amd64" || len(inspected.Layers) != 3 || len(inspected.RepoTags) != 1 {
		t.Errorf("inspect says %s", out)
	}

	// From image to image, in Docker's format: layers are mounted.
	converted := r.Image("octocat/octo-app/converted:1.0")
	if _, err := s.run(ctx, monalisa, r.Addr, "copy", "--format", "v2s2", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+image, "docker://"+converted); err != nil {
		t.Fatal(err)
	}
	raw, err := s.run(ctx, hubot, r.Addr, "inspect", "--raw", "--tls-verify=false", "docker://"+converted)
	if err != nil || !strings.Contains(raw, "application/vnd.docker.distribution.manifest.v2+json") {
		t.Errorf("the converted image is %s, %v", raw, err)
	}
	if err := s.pull(ctx, hubot, image, filepath.Join(t.TempDir(), "pulled")); err != nil {
		t.Error(err)
	}
}
