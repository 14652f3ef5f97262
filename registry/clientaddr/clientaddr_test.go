// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package clientaddr_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/packages-operator/packages-operator/registry/clientaddr"
)

func TestClientIsTheLastHopThatIsNoTrustedProxy(t *testing.T) {
	proxies := []string{"10.0.0.0/8", "192.0.2.7", "fd00::/8"}
	for _, test := range []struct {
		name      string
		trusted   []string
		remote    string
		forwarded []string
		want      string
	}{
		{"no proxy is trusted, so the header is not read", nil, "10.1.2.3:4711", []string{"203.0.113.9"}, "10.1.2.3"},
		{"a client that is no trusted proxy cannot choose its address", proxies, "203.0.113.5:4711", []string{"198.51.100.1"}, "203.0.113.5"},
		{"a trusted proxy says whom it speaks for", proxies, "10.1.2.3:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a trusted proxy without the header is the client", proxies, "10.1.2.3:4711", nil, "10.1.2.3"},
		{"what the client wrote itself stands on the left and is not believed", proxies, "10.1.2.3:4711", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"a chain of trusted proxies is walked", proxies, "10.1.2.3:4711", []string{"198.51.100.1, 203.0.113.9,192.0.2.7"}, "203.0.113.9"},
		{"a header in several lines is one list", proxies, "10.1.2.3:4711", []string{"198.51.100.1", "203.0.113.9", "192.0.2.7"}, "203.0.113.9"},
		{"requests that begin within the trusted networks come from their first hop", proxies, "10.1.2.3:4711", []string{"10.9.9.9, 10.8.8.8"}, "10.9.9.9"},
		{"what cannot be read ends the walk", proxies, "10.1.2.3:4711", []string{"203.0.113.9, unknown, 192.0.2.7"}, "192.0.2.7"},
		{"an empty header says nothing", proxies, "10.1.2.3:4711", []string{""}, "10.1.2.3"},
		{"hops may have ports", proxies, "10.1.2.3:4711", []string{"203.0.113.9:1234"}, "203.0.113.9"},
		{"IPv6", proxies, "[fd00::1]:4711", []string{"[2001:db8::9]:1234"}, "2001:db8::9"},
		{"IPv4 written as IPv6 is IPv4", proxies, "[::ffff:10.1.2.3]:4711", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"zones are left out", proxies, "[fe80::1%eth0]:4711", nil, "fe80::1"},
		{"the walk is bounded", proxies, "10.1.2.3:4711", []string{"203.0.113.9" + strings.Repeat(", 10.0.0.1", 40)}, "10.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			trusted, err := clientaddr.ParsePrefixes(test.trusted)
			if err != nil {
				t.Fatal(err)
			}
			request := &http.Request{RemoteAddr: test.remote, Header: http.Header{}}
			if test.forwarded != nil {
				request.Header["X-Forwarded-For"] = test.forwarded
			}
			if got := clientaddr.New(trusted).Of(request); got != netip.MustParseAddr(test.want) {
				t.Errorf("client is %s, want %s", got, test.want)
			}
		})
	}
}

func TestNoAddressWithoutAPeer(t *testing.T) {
	if got := (clientaddr.Resolver{}).Of(&http.Request{RemoteAddr: "@"}); got.IsValid() {
		t.Errorf("client is %s, want none", got)
	}
}

func TestFaultyNetworksAreRefusedWithWhatToWrite(t *testing.T) {
	for value, want := range map[string]string{
		"":                  "no address",
		"example.com":       "no address",
		"10.0.0.0/33":       "no address",
		"10.1.2.3/8":        "write 10.0.0.0/8",
		"::ffff:10.0.0.0/8": "no address",
		"fe80::1%eth0":      "no address",
	} {
		if _, err := clientaddr.ParsePrefixes([]string{value}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want one that says %q", value, err, want)
		}
	}
}
