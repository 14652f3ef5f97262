// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clientaddr tells which address a request comes from when there are
// reverse proxies in between.
package clientaddr

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds how much of a header is read; no request passes as many
// trusted proxies.
const maxHops = 32

// Resolver knows which proxies are trusted to say whom they speak for. The zero
// value trusts none. It may be used by many goroutines at once.
type Resolver struct {
	trusted []netip.Prefix
}

// New returns a Resolver that believes the X-Forwarded-For header of requests
// from trusted.
func New(trusted []netip.Prefix) Resolver { return Resolver{trusted: trusted} }

// ParsePrefixes reads addresses and networks, such as 10.0.0.0/8 or 192.0.2.7.
func ParsePrefixes(values []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, value := range values {
		if addr, err := netip.ParseAddr(value); err == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(value)
		if err != nil || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is no address and no network; write one such as 192.0.2.7 or 10.0.0.0/8", value)
		}
		if prefix != prefix.Masked() {
			return nil, fmt.Errorf("%q names an address within a network; write %s for the network, or the address alone", value, prefix.Masked())
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

// Of returns the client's address: the last one on the way here that is no
// trusted proxy. What a client itself writes into X-Forwarded-For stands left
// of that and is never believed. The result is invalid when r has no address.
func (r Resolver) Of(req *http.Request) netip.Addr {
	addr := parseHop(req.RemoteAddr)
	values := req.Header["X-Forwarded-For"]
	if len(r.trusted) == 0 || len(values) == 0 {
		return addr
	}
	for i, hops := len(values)-1, 0; i >= 0; i-- {
		rest := values[i]
		for more := true; more; hops++ {
			if hops == maxHops || !r.trusts(addr) {
				return addr
			}
			comma := strings.LastIndexByte(rest, ',')
			hop := parseHop(strings.TrimSpace(rest[comma+1:]))
			if !hop.IsValid() {
				// A trusted proxy passed on what it could not read either.
				return addr
			}
			addr = hop
			if more = comma >= 0; more {
				rest = rest[:comma]
			}
		}
	}
	return addr
}

func (r Resolver) trusts(addr netip.Addr) bool {
	for _, prefix := range r.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// parseHop reads an address, with or without a port.
func parseHop(s string) netip.Addr {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap().WithZone("")
	}
	if addrPort, err := netip.ParseAddrPort(s); err == nil {
		return addrPort.Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
