// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// cluster is what discovery would find.
type cluster struct {
	version    string
	versionErr error
	kinds      []string
}

func (c cluster) ServerVersion() (*version.Info, error) {
	return &version.Info{GitVersion: c.version}, c.versionErr
}

func (c cluster) ServerResourcesForGroupVersion(string) (*metav1.APIResourceList, error) {
	if c.kinds == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, "")
	}
	list := &metav1.APIResourceList{}
	for _, kind := range c.kinds {
		list.APIResources = append(list.APIResources, metav1.APIResource{Kind: kind})
	}
	return list, nil
}

func TestPreflight(t *testing.T) {
	all := []string{"PackagesInstance", "PackagesOrganization", "PackagesPolicy", "PackagesRepository", "PackagesToken"}
	for name, test := range map[string]struct {
		cluster cluster
		// want is part of the error, empty for none.
		want string
	}{
		"a new cluster":            {cluster{version: "v1.37.0", kinds: all}, ""},
		"the oldest one":           {cluster{version: "v1.32.0", kinds: all}, ""},
		"a distribution's":         {cluster{version: "v1.33.4+k3s1", kinds: all}, ""},
		"a cloud's":                {cluster{version: "v1.34.1-eks-1234567", kinds: all}, ""},
		"one that is too old":      {cluster{version: "v1.31.9", kinds: all}, "needs 1.32 or later"},
		"one without our kinds":    {cluster{version: "v1.37.0"}, "install the CustomResourceDefinitions first"},
		"one that lacks one kind":  {cluster{version: "v1.37.0", kinds: all[1:]}, "does not serve PackagesInstance of"},
		"one that does not answer": {cluster{versionErr: errors.New("connection refused")}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Preflight(test.cluster)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
