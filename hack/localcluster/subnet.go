// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/packages-operator/packages-operator/hack/localcluster/machine"
)

// linkPool holds the addresses between this machine and its clusters. It is
// half of the range that RFC 2544 sets aside for tests inside one's own walls,
// so that it meets neither a private network nor a VPN.
var linkPool = netip.MustParsePrefix("198.19.0.0/16")

// errNoSubnet means that every /30 of the pool is taken.
var errNoSubnet = errors.New("no free /30 network in " + linkPool.String())

// chooseNetwork picks the link of the cluster called name: the same one every
// time if it is free, else the next that overlaps none of used.
func chooseNetwork(name string, used []netip.Prefix) (*machine.Network, error) {
	const size = 4 // addresses in a /30
	slots := uint32(1) << (30 - linkPool.Bits())
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name))
	base := binary.BigEndian.Uint32(linkPool.Addr().AsSlice())
	for i := range slots {
		first := base + (hash.Sum32()+i)%slots*size
		subnet := netip.PrefixFrom(addrOf(first), 30)
		if !slices.ContainsFunc(used, subnet.Overlaps) {
			return &machine.Network{
				Link: "po-" + name,
				Host: netip.PrefixFrom(addrOf(first+1), 30),
				Node: netip.PrefixFrom(addrOf(first+2), 30),
			}, nil
		}
	}
	return nil, errNoSubnet
}

func addrOf(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

// usedNetworks lists the IPv4 networks that this machine has an address in or
// a route to, apart from default routes.
func usedNetworks() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var used []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			used = append(used, p.Masked())
		}
	}
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, err
	}
	return append(used, parseRoutes(string(table))...), nil
}

// parseRoutes reads the format of /proc/net/route: columns Iface, Destination,
// …, Mask (the eighth), numbers in hexadecimal with the lowest byte first.
func parseRoutes(table string) []netip.Prefix {
	var routes []netip.Prefix
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		dst, err1 := hex.DecodeString(f[1])
		mask, err2 := hex.DecodeString(f[7])
		if err1 != nil || err2 != nil || len(dst) != 4 || len(mask) != 4 {
			continue // the heading
		}
		slices.Reverse(dst)
		slices.Reverse(mask)
		bits, _ := net.IPMask(mask).Size()
		// Halves of the whole address space are a VPN's way to say "default".
		if bits > 1 {
			routes = append(routes, netip.PrefixFrom(netip.AddrFrom4([4]byte(dst)), bits))
		}
	}
	return routes
}
