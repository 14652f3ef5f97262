// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const catalogScope = "registry:catalog:*"

func listTags(name, query string) request {
	return request{method: http.MethodGet, path: "/v2/" + name + "/tags/list" + query, scope: pullScope(name), want: http.StatusOK}
}

// tagNames are what fillTags makes, in the order of a listing.
func tagNames(count int) []string {
	tags := make([]string, count)
	for i := range tags {
		tags[i] = fmt.Sprint("v", i)
	}
	slices.Sort(tags)
	return tags
}

// fillTags pushes one manifest under many tags. The floor gets the answers alone.
func (s *server) fillTags(ctx context.Context, into string, count int) error {
	return s.once(into, func() error {
		img := newImage(1, smallLayerSize)
		if err := s.pushImage(ctx, into, "v0", img); err != nil {
			return err
		}
		if s.fixed {
			if err := s.pushManifest(ctx, into, middleTag(count), img.manifest); err != nil {
				return err
			}
			return s.fixTags(ctx, into, tagNames(count))
		}
		return each(ctx, count, func(ctx context.Context, i int) error {
			return s.pushManifest(ctx, into, fmt.Sprint("v", i), img.manifest)
		})
	})
}

// fixTags teaches the floor a list of tags and its first page.
func (s *server) fixTags(ctx context.Context, into string, tags []string) error {
	for query, list := range map[string][]string{"": tags, firstPage: tags[:min(len(tags), pageSize)]} {
		body, err := json.Marshal(struct {
			Name string   `json:"name"`
			Tags []string `json:"tags"`
		}{into, list})
		if err != nil {
			return err
		}
		if err := s.fix(ctx, listTags(into, query).path, "application/json", body); err != nil {
			return err
		}
	}
	return nil
}

const (
	pageSize  = 100
	firstPage = "?n=100"
)

func middleTag(count int) string { return fmt.Sprint("v", count/2) }

func headOneOfTags(ctx context.Context, s *server, scale scale) (work, error) {
	if err := s.fillTags(ctx, name("tagged"), scale.tags); err != nil {
		return nil, err
	}
	return repeat(s.client, scale, getManifest(name("tagged"), middleTag(scale.tags)).with(http.MethodHead)), nil
}

func firstPageOfTags(ctx context.Context, s *server, scale scale) (work, error) {
	if err := s.fillTags(ctx, name("tagged"), scale.tags); err != nil {
		return nil, err
	}
	list := listTags(name("tagged"), firstPage)
	if err := s.expectTags(ctx, list, min(pageSize, scale.tags)); err != nil {
		return nil, err
	}
	return repeat(s.client, scale, list), nil
}

// expectTags makes sure that a server answers with so many tags: one that sends less
// would only look fast.
func (s *server) expectTags(ctx context.Context, list request, count int) error {
	body, _, err := s.read(ctx, list)
	if err != nil {
		return err
	}
	var answer struct{ Tags []string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if len(answer.Tags) != count {
		return fmt.Errorf("%s has %d tags, want %d", list.path, len(answer.Tags), count)
	}
	return nil
}

// manyManifests fills a name with manifests that each have a tag, which serves the
// rows about 100,000 of them.
func (s *server) manyManifests(ctx context.Context, scale scale) (into string, err error) {
	into = name("many")
	return into, s.once(into, func() error {
		img := newImage(1, smallLayerSize)
		if err := s.pushImage(ctx, into, "v0", img); err != nil {
			return err
		}
		if s.fixed {
			return s.fixTags(ctx, into, tagNames(scale.manyTags))
		}
		return each(ctx, scale.manyTags, func(ctx context.Context, i int) error {
			manifest := img.manifestWith(map[string]string{"org.opencontainers.image.version": fmt.Sprint(i)}, nil)
			return s.pushManifest(ctx, into, fmt.Sprint("v", i), manifest)
		})
	})
}

// allTags lists every tag, in as many pages as the server makes of it.
func allTags(ctx context.Context, s *server, scale scale) (work, error) {
	into, err := s.manyManifests(ctx, scale)
	if err != nil {
		return nil, err
	}
	return s.pages(ctx, scale, listTags(into, ""), "tags", scale.manyTags)
}

func firstPageOfManyTags(ctx context.Context, s *server, scale scale) (work, error) {
	into, err := s.manyManifests(ctx, scale)
	if err != nil {
		return nil, err
	}
	list := listTags(into, firstPage)
	if err := s.expectTags(ctx, list, pageSize); err != nil {
		return nil, err
	}
	return repeat(s.client, scale, list), nil
}

// pages follows the Link headers of a listing once, to learn which requests there
// are and that they bring count entries of a field. Its work makes them all.
func (s *server) pages(ctx context.Context, scale scale, first request, field string, count int) (work, error) {
	var all []request
	for r, more := first, true; more; {
		all = append(all, r)
		body, header, err := s.read(ctx, r)
		if err != nil {
			return nil, err
		}
		var answer map[string]json.RawMessage
		var entries []json.RawMessage
		if err := errors.Join(json.Unmarshal(body, &answer), json.Unmarshal(answer[field], &entries)); err != nil {
			return nil, fmt.Errorf("%s: %w", r.path, err)
		}
		count -= len(entries)
		if r.path, more, err = nextPage(header); err != nil {
			return nil, err
		}
	}
	if count > 0 {
		return nil, fmt.Errorf("%s lacks %d entries", first.path, count)
	}
	return func(ctx context.Context) (sample, error) {
		return load{workers: clients, duration: scale.duration}.run(ctx, perSecond, func(ctx context.Context, _ int) (int64, error) {
			var total int64
			for _, r := range all {
				_, n, err := s.do(ctx, r)
				if err != nil {
					return 0, err
				}
				total += n
			}
			return total, nil
		})
	}, nil
}

// nextPage reads a Link header (RFC 8288) with rel="next".
func nextPage(header http.Header) (path string, more bool, err error) {
	link := header.Get("Link")
	if link == "" {
		return "", false, nil
	}
	target, rest, found := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !found || !strings.Contains(rest, `rel="next"`) {
		return "", false, fmt.Errorf("the Link header %q names no next page", link)
	}
	parsed, err := url.Parse(target)
	if err != nil {
		return "", false, fmt.Errorf("the Link header %q names no URL", link)
	}
	return parsed.RequestURI(), true, nil
}

// listReferrers lists all signatures of an image.
func listReferrers(ctx context.Context, s *server, scale scale) (work, error) {
	into := name("signed")
	list := request{method: http.MethodGet, scope: pullScope(into), want: http.StatusOK}
	if err := s.once(into, func() error {
		img := newImage(1, smallLayerSize)
		if err := s.pushImage(ctx, into, "latest", img); err != nil {
			return err
		}
		subject := img.manifest.descriptor(manifestType)
		s.signed = "/v2/" + into + "/referrers/" + subject.Digest
		var listed []descriptor
		referrers := make([]*content, scale.referrers)
		for i := range referrers {
			annotations := map[string]string{"org.opencontainers.image.created": fmt.Sprintf("2026-01-01T00:00:%05dZ", i)}
			referrers[i] = img.manifestWith(annotations, &subject)
			d := referrers[i].descriptor(manifestType)
			d.ArtifactType, d.Annotations = artifactType, annotations
			listed = append(listed, d)
		}
		if s.fixed {
			body, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": listed})
			if err != nil {
				return err
			}
			return s.fix(ctx, s.signed, indexType, body)
		}
		list.path = s.signed
		if _, _, err := s.do(ctx, list); err != nil {
			return notSupported(err)
		}
		return each(ctx, scale.referrers, func(ctx context.Context, i int) error {
			return s.pushManifest(ctx, into, referrers[i].digest, referrers[i])
		})
	}); err != nil {
		return nil, err
	}
	list.path = s.signed
	return s.pages(ctx, scale, list, "manifests", scale.referrers)
}

// notSupported tells a server that does not know a request from one that fails.
func notSupported(err error) error {
	var answer *statusError
	if errors.As(err, &answer) && answer.status == http.StatusNotFound {
		return errNotSupported
	}
	return err
}

// listCatalog lists many names of one image each.
func listCatalog(ctx context.Context, s *server, scale scale) (work, error) {
	list := request{method: http.MethodGet, path: "/v2/_catalog?n=1000", scope: catalogScope, want: http.StatusOK}
	if err := s.once("catalog", func() error {
		names := make([]string, scale.manyNames)
		for i := range names {
			names[i] = name(fmt.Sprintf("catalog/%05d", i))
		}
		if s.fixed {
			// All in one page: there is no faster way to send them.
			body, err := json.Marshal(map[string][]string{"repositories": names})
			if err != nil {
				return err
			}
			return s.fix(ctx, list.path, "application/json", body)
		}
		img := newImage(0, 0)
		return each(ctx, len(names), func(ctx context.Context, i int) error {
			return s.pushImage(ctx, names[i], "latest", img)
		})
	}); err != nil {
		return nil, err
	}
	return s.pages(ctx, scale, list, "repositories", scale.manyNames)
}
