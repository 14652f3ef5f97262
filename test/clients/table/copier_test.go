// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package table

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// copier is what clients have in common that exchange OCI layouts with a
// registry. An image is HOST:PORT/NAME:TAG or HOST:PORT/NAME@DIGEST.
type copier interface {
	push(j *job, as user, p part, image string) error
	// pull copies an image into a new layout.
	pull(j *job, as user, image string, into string) error
	copy(j *job, as user, from, to string) error
	// remove deletes the manifest of an image.
	remove(j *job, as user, image string) error
	tags(j *job, as user, repository string) ([]string, error)
}

// copierVerbs are the verbs of a copier; except has exceptions by verb.
func copierVerbs(c copier, except map[string][]exception) []verb {
	verbs := []verb{
		{name: "push", run: func(j *job) error { return pushes(c, j) }},
		{name: "pull", run: func(j *job) error { return pulls(c, j, false) }},
		{name: "pull by digest", run: func(j *job) error { return pulls(c, j, true) }},
		{name: "copy", run: func(j *job) error { return copies(c, j) }},
		{name: "delete", run: func(j *job) error { return removes(c, j) }},
		{name: "list tags", run: func(j *job) error { return listsTags(c, j) }, on: aboutRepositories},
	}
	for i := range verbs {
		verbs[i].except = except[verbs[i].name]
	}
	return verbs
}

func pushes(c copier, j *job) error {
	for _, p := range j.content.parts {
		image := j.own("push", p)
		// Again: what is there need not be sent, and changes nothing.
		for range 2 {
			if err := c.push(j, monalisa, p, image); err != nil {
				return err
			}
		}
		if err := j.wire().holds(j, image, p); err != nil {
			return err
		}
	}
	return refersTo(j, j.place("push"))
}

// refersTo checks that all parts but the first are listed as referrers of that.
func refersTo(j *job, place string) error {
	var want []string
	for _, p := range j.content.parts[1:] {
		want = append(want, p.root.Digest.String())
	}
	slices.Sort(want)
	got, err := j.wire().referrers(j, repository+"/"+place, j.content.parts[0].root.Digest)
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("the referrers are %v, not %v", got, want)
	}
	return err
}

func pulls(c copier, j *job, byDigest bool) error {
	for _, p := range j.content.parts {
		image := j.seeded(p)
		if byDigest {
			image = strings.TrimSuffix(image, ":"+p.tag) + "@" + p.root.Digest.String()
		}
		into := j.path(p.tag)
		if err := c.pull(j, hubot, image, into); err != nil {
			return err
		}
		if err := layout(into).holds(p.layout, p.root); err != nil {
			return err
		}
	}
	return nil
}

func copies(c copier, j *job) error {
	for _, p := range j.content.parts {
		to := j.own("copy", p)
		if err := c.copy(j, monalisa, j.seeded(p), to); err != nil {
			return err
		}
		if err := j.wire().holds(j, to, p); err != nil {
			return err
		}
	}
	return refersTo(j, j.place("copy"))
}

func removes(c copier, j *job) error {
	// The other parts first: some registries keep what is referred to.
	for _, p := range slices.Backward(j.content.parts) {
		image, err := j.planted("delete", p)
		if err != nil {
			return err
		}
		if err := c.remove(j, monalisa, image); err == nil {
			return errors.New("who may write deleted")
		} else if err := contains(err.Error(), "deleting needs Admin"); err != nil {
			return err
		}
		if err := c.remove(j, octocat, image); err != nil {
			return err
		}
		if err := j.wire().gone(j, image); err != nil {
			return err
		}
	}
	return nil
}

func listsTags(c copier, j *job) error {
	signedContent := j.bench.contents[signed]
	got, err := c.tags(j, hubot, j.open().addr+"/"+seedOf(signedContent))
	if want := []string{chartVersion, "sbom", "signature"}; err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("the tags are %v, not %v", got, want)
	}
	return err
}

// pushAttempt makes a copier's push the attempt that is refused.
func pushAttempt(c copier) func(*job, *registry, user, string) error {
	return func(j *job, _ *registry, as user, image string) error {
		return c.push(j, as, j.bench.tooLarge, image)
	}
}

// contains is nil if a text has all the others in it.
func contains(text string, parts ...string) error {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return fmt.Errorf("there is no %q in: %s", part, text)
		}
	}
	return nil
}
