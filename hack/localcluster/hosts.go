// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"fmt"
	"net/netip"
	"strings"
)

// hostsMark ends the lines of a hosts file that belong to the cluster.
func hostsMark(cluster string) string { return "# packages-operator " + cluster }

// editHosts returns the hosts file with exactly one marked line for each of
// the cluster's hosts; with no hosts, its lines are removed. All other lines
// stay as they are, byte for byte.
func editHosts(file, cluster string, addr netip.Addr, hosts []string) string {
	mark := hostsMark(cluster)
	var b strings.Builder
	for line := range strings.Lines(file) {
		if !strings.HasSuffix(strings.TrimRight(line, "\r\n"), mark) {
			b.WriteString(line)
		}
	}
	if len(hosts) > 0 && b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
		b.WriteString("\n")
	}
	for _, host := range hosts {
		fmt.Fprintf(&b, "%s %s %s\n", addr, host, mark)
	}
	return b.String()
}
