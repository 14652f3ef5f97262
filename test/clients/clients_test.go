// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clients pushes and pulls with real clients that share no code with the
// registry. What they exchange are OCI image layouts: directories in which the
// annotation of the name "v1" marks the image.
package clients

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/blob/s3"
	"github.com/packages-operator/packages-operator/registry/blob/s3/s3test"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// user is somebody with a token.
type user struct{ name, value string }

var (
	octocat  = user{"octocat", "octocat" + strings.Repeat("-0123456789", 4)}   // owns octocat/octo-app
	monalisa = user{"monalisa", "monalisa" + strings.Repeat("-0123456789", 4)} // may write there
	hubot    = user{"hubot", "hubot" + strings.Repeat("-0123456789", 4)}       // may read there
	stranger = user{"stranger", "stranger" + strings.Repeat("-0123456789", 4)} // may not see it
)

// start runs a registry with the private repository octocat/octo-app.
func start(t *testing.T) *registrytest.Registry {
	t.Helper()
	return startWith(t, registrytest.Options{})
}

func startWith(t *testing.T, o registrytest.Options) *registrytest.Registry {
	t.Helper()
	return registrytest.Start(t, samplePolicy(), o)
}

func samplePolicy() policy.Policy {
	p := registrytest.Policy()
	p.Repositories = []policy.Repository{{Owner: "octocat", Name: "octo-app", Visibility: policy.Private,
		Users: []policy.Member{{Name: "hubot", Role: policy.RoleRead}, {Name: "monalisa", Role: policy.RoleWrite}}}}
	for _, u := range []user{octocat, monalisa, hubot, stranger} {
		p.Credentials = append(p.Credentials, registrytest.Credential(u.value, u.name, policy.ScopeRead, policy.ScopeWrite, policy.ScopeDelete))
	}
	return p
}

// tool is a client. A repository is HOST:PORT/NAME, an image a repository with
// :TAG or @DIGEST.
type tool interface {
	// push copies an image, or an index with all images in it, from a layout.
	push(ctx context.Context, as user, layout, image string) error
	// pull copies it into a new layout.
	pull(ctx context.Context, as user, image, layout string) error
	tags(ctx context.Context, as user, repository string) ([]string, error)
	// remove deletes the manifest that a tag points at.
	remove(ctx context.Context, as user, image string) error
}

// lister is a tool that lists the digests of an image's referrers.
type lister interface {
	referrers(ctx context.Context, as user, image string) ([]string, error)
}

// tools by name. Each test that needs another program says what installs it.
var tools = map[string]func(t *testing.T) tool{
	"skopeo":               newSkopeo,
	"go-containerregistry": func(*testing.T) tool { return crane{} },
	"oras-go":              func(*testing.T) tool { return oras{} },
	"regclient":            func(*testing.T) tool { return reg{} },
}

func TestClientsPushAndPull(t *testing.T) {
	layouts := map[string]string{
		"an image":                           writeImage(t, imageOf(t, 3, 1000)),
		"an image of 60 layers":              writeImage(t, imageOf(t, 60, 500)),
		"an image with a layer of 64 MiB":    writeImage(t, imageOf(t, 1, 64<<20)),
		"an index for two architectures":     writeIndex(t),
		"an image without layers":            writeImage(t, imageOf(t, 0, 0)),
		"an image with the same layer twice": writeImage(t, repeated(t)),
	}
	pushAndPull(t, start(t), layouts)
}

func TestClientsPushAndPullWithABucket(t *testing.T) {
	server := s3test.Start(t)
	r := startWith(t, registrytest.Options{S3: &s3.Options{
		Bucket: s3test.Bucket, Endpoint: server.Endpoint, Region: s3test.Region, ForcePathStyle: true, Credentials: server,
	}})
	pushAndPull(t, r, map[string]string{
		"an image":                       writeImage(t, imageOf(t, 3, 100_000)),
		"an image with a layer of 30 MB": writeImage(t, imageOf(t, 1, 30_000_000)),
		"an index for two architectures": writeIndex(t),
	})
}

// pushAndPull does with every tool to every layout what its name says.
func pushAndPull(t *testing.T, r *registrytest.Registry, layouts map[string]string) {
	for toolName, newTool := range tools {
		t.Run(toolName, func(t *testing.T) {
			tool, ctx := newTool(t), t.Context()
			repository := r.Image("octocat/octo-app/%s", toolName)
			var want []string
			for what, layout := range layouts {
				tag := strings.ReplaceAll(what, " ", "-")
				want = append(want, tag)
				t.Run(what, func(t *testing.T) {
					if err := tool.push(ctx, monalisa, layout, repository+":"+tag); err != nil {
						t.Fatalf("push: %v", err)
					}
					// Again: what is there need not be sent, and changes nothing.
					if err := tool.push(ctx, monalisa, layout, repository+":"+tag); err != nil {
						t.Fatalf("push again: %v", err)
					}
					for _, reference := range []string{":" + tag, "@" + root(t, layout).Digest.String()} {
						pulled := filepath.Join(t.TempDir(), "pulled")
						if err := tool.pull(ctx, hubot, repository+reference, pulled); err != nil {
							t.Fatalf("pull %s: %v", reference, err)
						}
						sameContent(t, layout, pulled)
					}
				})
			}
			slices.Sort(want)
			got, err := tool.tags(ctx, hubot, repository)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("tags: %v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestClientsDeleteWhatTheyOwn(t *testing.T) {
	layout := writeImage(t, imageOf(t, 2, 1000))
	r := start(t)
	for toolName, newTool := range tools {
		t.Run(toolName, func(t *testing.T) {
			tool, ctx := newTool(t), t.Context()
			image := r.Image("octocat/octo-app/%s:1.0", toolName)
			if err := tool.push(ctx, monalisa, layout, image); err != nil {
				t.Fatal(err)
			}
			if err := tool.remove(ctx, monalisa, image); err == nil || !strings.Contains(err.Error(), "your role in octocat/octo-app is Write; deleting needs Admin") {
				t.Errorf("who may write deleted, or was not told why not: %v", err)
			}
			if err := tool.pull(ctx, hubot, image, filepath.Join(t.TempDir(), "pulled")); err != nil {
				t.Fatal(err)
			}
			if err := tool.remove(ctx, octocat, image); err != nil {
				t.Fatal(err)
			}
			if err := tool.pull(ctx, hubot, image, filepath.Join(t.TempDir(), "pulled")); err == nil {
				t.Error("the image is still there")
			}
		})
	}
}

func TestClientsShowWhyTheyAreRefused(t *testing.T) {
	layout := writeImage(t, imageOf(t, 1, 1000))
	r := start(t)
	for toolName, newTool := range tools {
		t.Run(toolName, func(t *testing.T) {
			tool, ctx := newTool(t), t.Context()
			image := r.Image("octocat/octo-app/%s:1.0", toolName)
			if err := tool.push(ctx, monalisa, layout, image); err != nil {
				t.Fatal(err)
			}
			err := tool.push(ctx, hubot, writeImage(t, imageOf(t, 1, 2000)), image)
			if err == nil || !strings.Contains(err.Error(), "your role in octocat/octo-app is Read; pushing needs Write") {
				t.Errorf("a push by who may read: %v", err)
			}
			err = tool.push(ctx, octocat, layout, r.Image("octocat/no-such-repository/image:1.0"))
			if err == nil || !strings.Contains(err.Error(), "there is no repository octocat/no-such-repository") {
				t.Errorf("a push to a missing repository: %v", err)
			}
			for what, refused := range map[string]error{
				"a pull by who may not see it": tool.pull(ctx, stranger, image, filepath.Join(t.TempDir(), "pulled")),
				"a pull with a wrong token":    tool.pull(ctx, user{"octocat", "wrong"}, image, filepath.Join(t.TempDir(), "pulled")),
			} {
				if refused == nil {
					t.Errorf("%s succeeded", what)
				}
			}
		})
	}
}

func TestClientsFindReferrers(t *testing.T) {
	image := imageOf(t, 1, 1000)
	imageLayout, artifactLayout := writeImage(t, image), writeImage(t, artifactOf(t, image))
	r := start(t)
	for pusherName, newPusher := range tools {
		t.Run("pushed by "+pusherName, func(t *testing.T) {
			pusher, ctx := newPusher(t), t.Context()
			repository := r.Image("octocat/octo-app/%s", pusherName)
			subject := repository + "@" + root(t, imageLayout).Digest.String()
			// The artifact first: its subject need not be there yet.
			if err := pusher.push(ctx, monalisa, artifactLayout, repository+":artifact"); err != nil {
				t.Fatal(err)
			}
			if err := pusher.push(ctx, monalisa, imageLayout, repository+":image"); err != nil {
				t.Fatal(err)
			}
			for listerName, newLister := range tools {
				lister, ok := newLister(t).(lister)
				if !ok {
					continue
				}
				got, err := lister.referrers(ctx, hubot, subject)
				if want := []string{root(t, artifactLayout).Digest.String()}; err != nil || !slices.Equal(got, want) {
					t.Errorf("%s finds %v, %v; want %v", listerName, got, err, want)
				}
			}
			pulled := filepath.Join(t.TempDir(), "pulled")
			if err := pusher.pull(ctx, hubot, repository+":artifact", pulled); err != nil {
				t.Fatal(err)
			}
			// The subject is not part of the artifact; some clients bring it along.
			containsBlobs(t, artifactLayout, pulled)
		})
	}
}
