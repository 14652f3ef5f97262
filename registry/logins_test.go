// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"

	"github.com/packages-operator/packages-operator/registry/errcode"
	"github.com/packages-operator/packages-operator/registry/loginlimit"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

// behindProxy starts a registry that believes requests from loopback.
func behindProxy(t *testing.T) (*registrytest.Registry, client, *logLines) {
	t.Helper()
	lines := &logLines{}
	log := funcr.NewJSON(lines.add, funcr.Options{Verbosity: 10})
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{
		Log: &log, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	return r, client{t: t, addr: r.Addr}, lines
}

// from names the client that a request comes from.
func from(address string) header { return header{"X-Forwarded-For", address} }

// failedLogins are the ways to sign in with a value that is no token's.
var failedLogins = map[string]func(client, header) answer{
	"Basic": func(c client, from header) answer { return c.as("wrong").do("GET", "/v2/", nil, from) },
	"Basic on a push": func(c client, from header) answer {
		return c.as("wrong").do("POST", "/v2/"+name+"/blobs/uploads/", nil, from)
	},
	"another scheme": func(c client, from header) answer {
		return c.do("GET", "/v2/", nil, from, header{"Authorization", "Digest wrong"})
	},
	"the token endpoint": func(c client, from header) answer { return c.as("wrong").do("GET", "/token", nil, from) },
	"a form": func(c client, from header) answer {
		return c.do("POST", "/token", []byte("grant_type=password&username=monalisa&password=wrong"),
			from, header{"Content-Type", "application/x-www-form-urlencoded"})
	},
	"a refresh token": func(c client, from header) answer {
		return c.do("POST", "/token", []byte("grant_type=refresh_token&refresh_token=wrong"),
			from, header{"Content-Type", "application/x-www-form-urlencoded"})
	},
}

// exhaust fails until an address is over its limit.
func exhaust(t *testing.T, c client, address string) {
	t.Helper()
	// Meanwhile time goes by, and an address may fail some more.
	for range 10 * loginlimit.Burst {
		if failedLogins["Basic"](c, from(address)).StatusCode == http.StatusTooManyRequests {
			return
		}
	}
	t.Fatalf("%s may fail without end", address)
}

func TestTooManyFailedLoginsOfAnAddressAreToldToWait(t *testing.T) {
	r, c, lines := behindProxy(t)
	clients := 0
	for way, fail := range failedLogins {
		clients++
		t.Run(way, func(t *testing.T) {
			address := from(fmt.Sprintf("203.0.113.%d", clients))
			failed := 0
			for ; failed < 10*loginlimit.Burst; failed++ {
				a := fail(c, address)
				if a.StatusCode != http.StatusTooManyRequests {
					a.want(t, http.StatusUnauthorized, errcode.Unauthorized)
					continue
				}
				a.want(t, http.StatusTooManyRequests, errcode.TooManyRequests).wantReason(t, "the token is wrong, expired or revoked")
				if seconds, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 3 {
					t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
				}
				break
			}
			if failed < loginlimit.Burst {
				t.Errorf("limited after %d failures, want %d to be free", failed, loginlimit.Burst)
			}
			fail(c, from("198.51.100.7")).want(t, http.StatusUnauthorized)
		})
	}
	text := string(admin(t, r).do("GET", "/metrics", nil).want(t, http.StatusOK).body)
	for _, outcome := range []string{"refused", "limited"} {
		if !strings.Contains(text, `packages_registry_failed_logins_total{outcome="`+outcome+`"} `) {
			t.Errorf("no metric counts failed logins that were %s", outcome)
		}
	}
	exhaust(t, c, "203.0.113.99")
	failedLogins["Basic"](c, from("203.0.113.99"))
	r.Stop(t)
	told := 0
	for _, line := range lines.all() {
		if strings.Contains(line, "Too many logins") && strings.Contains(line, `"remote":"203.0.113.99"`) {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the log tells %d times of an address over its limit, want once", told)
	}
}

func TestNoAddressKeepsAGoodCredentialOut(t *testing.T) {
	_, c, _ := behindProxy(t)
	const shared = "203.0.113.9"
	bearer := c.as(writerValue).bearer("scope=repository:" + name + ":pull,push")
	exhaust(t, c, shared)
	good := map[string]func() answer{
		"Basic":              func() answer { return c.as(readerValue).do("GET", "/v2/", nil, from(shared)) },
		"a bearer token":     func() answer { return c.do("GET", "/v2/", nil, from(shared), bearer) },
		"the token endpoint": func() answer { return c.as(otherValue).do("GET", "/token", nil, from(shared)) },
		"a form": func() answer {
			return c.do("POST", "/token", []byte("grant_type=password&username=x&password="+ownerValue),
				from(shared), header{"Content-Type", "application/x-www-form-urlencoded"})
		},
		"a refresh token": func() answer {
			return c.do("POST", "/token", []byte("grant_type=refresh_token&refresh_token="+ownerValue),
				from(shared), header{"Content-Type", "application/x-www-form-urlencoded"})
		},
	}
	// Whatever order good and bad come in.
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		if random.IntN(2) == 0 {
			for way, fail := range failedLogins {
				if a := fail(c, from(shared)); a.StatusCode != http.StatusUnauthorized && a.StatusCode != http.StatusTooManyRequests {
					t.Fatalf("%s with a wrong credential: status %d", way, a.StatusCode)
				}
				break
			}
			continue
		}
		for way, sign := range good {
			if a := sign(); a.StatusCode != http.StatusOK {
				t.Fatalf("%s: status %d for a good credential; %s", way, a.StatusCode, a.body)
			}
			break
		}
	}
}

// A client without a credential learns from the 401 where to sign in, and one
// whose bearer token has ended that it has to ask for another.
func TestWhoHasNotTriedToSignInIsChallengedAlways(t *testing.T) {
	_, c, _ := behindProxy(t)
	const shared = "203.0.113.9"
	exhaust(t, c, shared)
	for range 3 * loginlimit.Burst {
		c.do("GET", "/v2/", nil, from(shared)).want(t, http.StatusUnauthorized)
		c.do("GET", "/token", nil, from(shared)).want(t, http.StatusUnauthorized)
		a := c.do("GET", "/v2/", nil, from(shared), header{"Authorization", "Bearer ended"}).want(t, http.StatusUnauthorized)
		if !strings.Contains(a.Header.Get("Www-Authenticate"), `error="invalid_token"`) {
			t.Fatalf("the challenge is %q", a.Header.Get("Www-Authenticate"))
		}
	}
}

func TestAClientCannotChooseTheAddressThatItsFailuresCountFor(t *testing.T) {
	_, c := start(t) // where no proxy is trusted
	c = c.as("")
	forged := 0
	for ; forged < 10*loginlimit.Burst; forged++ {
		if failedLogins["Basic"](c, from(fmt.Sprintf("203.0.113.%d", forged))).StatusCode == http.StatusTooManyRequests {
			return
		}
	}
	t.Errorf("%d failures under forged addresses are not limited", forged)
}
