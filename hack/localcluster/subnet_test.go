// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package localcluster

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChooseNetworkIsStableAndAvoidsWhatIsTaken(t *testing.T) {
	first, err := chooseNetwork("demo", nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := chooseNetwork("demo", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	if *first != *again {
		t.Errorf("the same name got %v, then %v", first, again)
	}
	if !linkPool.Contains(first.Host.Addr()) || first.Host.Masked() != first.Node.Masked() || first.Host.Bits() != 30 {
		t.Errorf("%v is no /30 of %v", first, linkPool)
	}
	if first.Link != "po-demo" {
		t.Errorf("the link is called %q", first.Link)
	}
	moved, err := chooseNetwork("demo", []netip.Prefix{first.Host.Masked()})
	if err != nil {
		t.Fatal(err)
	}
	if moved.Host.Masked() == first.Host.Masked() {
		t.Errorf("%v was chosen though it is taken", moved)
	}
}

func TestChooseNetworkFindsTheLastFreeOne(t *testing.T) {
	// All but 198.19.255.252/30.
	var used []netip.Prefix
	for bits, addr := 17, netip.MustParseAddr("198.19.0.0"); bits <= 30; bits++ {
		used = append(used, netip.PrefixFrom(addr, bits))
		b := addr.As4()
		b[2+(bits-17)/8] |= 1 << (7 - (bits-17)%8)
		addr = netip.AddrFrom4(b)
	}
	got, err := chooseNetwork("demo", used)
	if err != nil {
		t.Fatal(err)
	}
	if want := netip.MustParsePrefix("198.19.255.254/30"); got.Node != want {
		t.Errorf("node at %v, want %v", got.Node, want)
	}
}

func TestChooseNetworkSaysWhenNoneIsFree(t *testing.T) {
	if _, err := chooseNetwork("demo", []netip.Prefix{linkPool}); !errors.Is(err, errNoSubnet) {
		t.Errorf("error %v, want %v", err, errNoSubnet)
	}
}

func TestParseRoutes(t *testing.T) {
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"tun0\t00000000\t0100000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n" +
		"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
		"tun0\t000013C6\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
	want := []string{"192.0.2.0/24", "198.19.0.0/16"}
	var got []string
	for _, p := range parseRoutes(table) {
		got = append(got, p.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("default routes must not count, others must (-want +got):\n%s", diff)
	}
}
