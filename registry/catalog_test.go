// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

func TestPagesOfTheCatalogDoNotNameWhatIsHidden(t *testing.T) {
	p := samplePolicy()
	for repository, visibility := range map[string]policy.Visibility{
		"a": policy.Internal, "b-secret": policy.Private, "c": policy.Internal, "c-secret": policy.Private, "d": policy.Internal,
	} {
		p.Repositories = append(p.Repositories, policy.Repository{Owner: "octocat", Name: repository, Visibility: visibility})
	}
	r := registrytest.Start(t, p, registrytest.Options{})
	c := client{t, r.Addr, ownerValue}
	for _, repository := range []string{"a", "b-secret", "c", "c-secret", "d"} {
		for _, image := range []string{"1", "2"} {
			c.pushImage("octocat/"+repository+"/"+image, "1", "layer")
		}
	}
	var listed []string
	path := "/v2/_catalog?n=1"
	for path != "" {
		page := c.as(otherValue).do("GET", path, nil).want(t, http.StatusOK)
		listed = append(listed, string(page.body))
		path = ""
		if link := page.Header.Get("Link"); link != "" {
			if strings.Contains(link, "secret") {
				t.Errorf("the next page is at %s", link)
			}
			path = next.FindStringSubmatch(link)[1]
		}
		if len(listed) > 10 {
			t.Fatalf("pages without end: %v", listed)
		}
	}
	if want := `{"repositories":["octocat/a/1"]}{"repositories":["octocat/a/2"]}{"repositories":["octocat/c/1"]}{"repositories":["octocat/c/2"]}{"repositories":["octocat/d/1"]}{"repositories":["octocat/d/2"]}`; strings.Join(listed, "") != want {
		t.Errorf("got %v", listed)
	}
}
