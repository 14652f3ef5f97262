// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEditHosts(t *testing.T) {
	addr := netip.MustParseAddr("198.19.0.2")
	for _, test := range []struct {
		name, before string
		hosts        []string
		want         string
	}{
		{
			"lines are added at the end", "127.0.0.1 localhost\n", []string{"a.test", "b.test"},
			"127.0.0.1 localhost\n198.19.0.2 a.test # packages-operator demo\n198.19.0.2 b.test # packages-operator demo\n",
		},
		{
			"a file without a final newline stays readable", "127.0.0.1 localhost", []string{"a.test"},
			"127.0.0.1 localhost\n198.19.0.2 a.test # packages-operator demo\n",
		},
		{
			"old lines of the same cluster are replaced", "198.19.0.9 old.test # packages-operator demo\n127.0.0.1 localhost\n", []string{"a.test"},
			"127.0.0.1 localhost\n198.19.0.2 a.test # packages-operator demo\n",
		},
		{
			"nothing but the cluster's lines is removed", "# by hand\n\n1.2.3.4\tx\r\n5.6.7.8 y # packages-operator demo2\n198.19.0.2 a.test # packages-operator demo\n", nil,
			"# by hand\n\n1.2.3.4\tx\r\n5.6.7.8 y # packages-operator demo2\n",
		},
		{"a file without any stays byte for byte", "127.0.0.1 localhost", nil, "127.0.0.1 localhost"},
		{"an empty file", "", []string{"a.test"}, "198.19.0.2 a.test # packages-operator demo\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := editHosts(test.before, "demo", addr, test.hosts)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if again := editHosts(got, "demo", addr, test.hosts); again != got {
				t.Errorf("a second edit changes %q to %q", got, again)
			}
		})
	}
}
