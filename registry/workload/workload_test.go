// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	issuerName = "https://kubernetes.default.svc.cluster.local"
	audience   = "docker.packages.test"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// pair is a key of a cluster's issuer.
type pair struct {
	id, algorithm string
	private       crypto.Signer
}

// pairs are a key of every algorithm, the first that of most clusters.
var pairs = sync.OnceValue(func() []pair {
	must := func(key crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return key
	}
	first := must(rsa.GenerateKey(rand.Reader, 2048))
	return []pair{
		{"rsa", "RS256", first}, {"rsa-384", "RS384", first}, {"rsa-512", "RS512", first},
		{"p256", "ES256", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))},
		{"p384", "ES384", must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))},
		{"p521", "ES512", must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))},
	}
})

// keySet is the pairs as a cluster publishes them.
func keySet(pairs ...pair) []byte {
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	var keys []map[string]string
	for _, p := range pairs {
		key := map[string]string{"use": "sig", "kid": p.id, "alg": p.algorithm}
		switch public := p.private.Public().(type) {
		case *rsa.PublicKey:
			key["kty"], key["n"], key["e"] = "RSA", number(public.N), number(big.NewInt(int64(public.E)))
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				panic(err)
			}
			half := len(point) / 2
			key["kty"], key["crv"] = "EC", public.Params().Name
			key["x"], key["y"] = base64.RawURLEncoding.EncodeToString(point[1:half+1]), base64.RawURLEncoding.EncodeToString(point[half+1:])
		}
		keys = append(keys, key)
	}
	encoded, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return encoded
}

var configuration = []byte(`{"issuer":"` + issuerName + `","jwks_uri":"https://10.0.0.1:6443/openid/v1/jwks","response_types_supported":["id_token"]}`)

func newVerifier(t testing.TB, pairs ...pair) *Verifier {
	t.Helper()
	issuer, err := ParseIssuer(configuration, keySet(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := NewVerifier(issuer)
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

// good are the claims of a token that a kubelet gives to a pod.
func good() jwt.MapClaims {
	return jwt.MapClaims{
		"aud": []string{audience}, "iss": issuerName, "sub": "system:serviceaccount:ci:builder", "jti": "0f3c",
		"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(10 * time.Minute).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": "ci", "serviceaccount": map[string]any{"name": "builder", "uid": "b1"},
			"pod": map[string]any{"name": "build-1", "uid": "p1"}, "node": map[string]any{"name": "node", "uid": "n1"},
		},
	}
}

func sign(t testing.TB, by pair, claims jwt.Claims, headers ...map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(by.algorithm), claims)
	token.Header = map[string]any{"alg": by.algorithm, "kid": by.id}
	for _, more := range headers {
		for name, value := range more {
			token.Header[name] = value
		}
	}
	signed, err := token.SignedString(by.private)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestATokenOfEveryAlgorithmIsVerified(t *testing.T) {
	verifier := newVerifier(t, pairs()...)
	for _, p := range pairs() {
		got, ok := verifier.Verify(sign(t, p, good()), audience)
		want := Token{User: "system:serviceaccount:ci:builder", UID: "b1", NotBefore: time.Unix(start.Unix(), 0), Expires: time.Unix(start.Unix()+600, 0)}
		if !ok || got != want {
			t.Errorf("%s: %+v, %v", p.algorithm, got, ok)
		}
	}
	single := good()
	single["aud"] = audience
	if _, ok := verifier.Verify(sign(t, pairs()[0], single), audience); !ok {
		t.Error("a token whose audience is no list is refused")
	}
}

func TestAForeignOrForgedTokenIsRefused(t *testing.T) {
	ours := pairs()[0]
	verifier := newVerifier(t, pairs()...)
	other := pair{"rsa", "RS256", func() crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}()}
	with := func(changes map[string]any) string {
		claims := good()
		for name, value := range changes {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
		return sign(t, ours, claims)
	}
	private := func(changes map[string]any) string {
		inner := good()["kubernetes.io"].(map[string]any)
		for name, value := range changes {
			inner[name] = value
		}
		return with(map[string]any{"kubernetes.io": inner})
	}
	// The public key, as an attacker has it, taken for a secret.
	der, err := x509.MarshalPKIXPublicKey(ours.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	confused := jwt.NewWithClaims(jwt.SigningMethodHS256, good())
	confused.Header["kid"] = "rsa"
	byPublicKey, err := confused.SignedString(der)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodNone, good())
	unsigned.Header["kid"] = "rsa"
	none, err := unsigned.SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	named := good()
	named["sub"] = "system:serviceaccount:ci:x:builder"
	named["kubernetes.io"].(map[string]any)["serviceaccount"] = map[string]any{"name": "x:builder", "uid": "b1"}
	colon := sign(t, ours, named)
	fine := sign(t, ours, good())
	parts := strings.Split(fine, ".")
	for name, token := range map[string]string{
		"the API server's audience":        with(map[string]any{"aud": []string{issuerName}}),
		"several audiences":                with(map[string]any{"aud": []string{audience, issuerName}}),
		"the audience twice":               with(map[string]any{"aud": []string{audience, audience}}),
		"no audience":                      with(map[string]any{"aud": []string{}}),
		"an audience that is null":         with(map[string]any{"aud": nil}),
		"an audience in a list of others":  with(map[string]any{"aud": []any{audience, 7}}),
		"an audience that begins so":       with(map[string]any{"aud": []string{audience + ".example.com"}}),
		"the base host":                    with(map[string]any{"aud": []string{"packages.test"}}),
		"the host as a URL":                with(map[string]any{"aud": []string{"https://" + audience}}),
		"the host in upper case":           with(map[string]any{"aud": []string{strings.ToUpper(audience)}}),
		"an audience by another name":      with(map[string]any{"aud": nil, "AUD": []string{audience}}),
		"another issuer":                   with(map[string]any{"iss": "https://other.example.com"}),
		"the issuer of old tokens":         with(map[string]any{"iss": "kubernetes/serviceaccount"}),
		"no issuer":                        with(map[string]any{"iss": nil}),
		"another cluster's key":            sign(t, other, good()),
		"no algorithm":                     none,
		"HS256 with the public key":        byPublicKey,
		"an unknown key":                   sign(t, ours, good(), map[string]any{"kid": "other"}),
		"no key":                           sign(t, ours, good(), map[string]any{"kid": nil}),
		"an algorithm that is not its own": sign(t, ours, good(), map[string]any{"alg": "RS512"}),
		"no algorithm named":               sign(t, ours, good(), map[string]any{"alg": nil}),
		"an end before 1970":               with(map[string]any{"exp": -1}),
		"an end at 1970":                   with(map[string]any{"exp": 0}),
		"a name with a colon, throughout":  colon,
		"the key of another algorithm":     sign(t, ours, good(), map[string]any{"kid": "p256"}),
		"another algorithm of the key":     sign(t, pair{"rsa", "RS512", ours.private}, good()),
		"PSS for PKCS #1":                  sign(t, pair{"rsa", "PS256", ours.private}, good()),
		"a key of its own":                 sign(t, other, good(), map[string]any{"jwk": json.RawMessage(keySet(other))}),
		"a demand that is not understood":  sign(t, ours, good(), map[string]any{"crit": []string{"exp"}}),
		"no end":                           with(map[string]any{"exp": nil}),
		"an end that is text":              with(map[string]any{"exp": fmt.Sprint(start.Unix() + 600)}),
		"an end beyond every calendar":     with(map[string]any{"exp": int64(1) << 60}),
		"no beginning":                     with(map[string]any{"nbf": nil}),
		"no time of issue":                 with(map[string]any{"iat": nil}),
		"another subject":                  with(map[string]any{"sub": "system:serviceaccount:ci:other"}),
		"a user for a subject":             with(map[string]any{"sub": "monalisa"}),
		"no subject":                       with(map[string]any{"sub": nil}),
		"no ServiceAccount":                with(map[string]any{"kubernetes.io": nil}),
		"a ServiceAccount elsewhere":       private(map[string]any{"namespace": "other"}),
		"a ServiceAccount without a UID":   private(map[string]any{"serviceaccount": map[string]any{"name": "builder"}}),
		"a name with a colon":              private(map[string]any{"serviceaccount": map[string]any{"name": "x:builder", "uid": "b1"}}),
		"another payload under it":         parts[0] + "." + strings.Split(with(map[string]any{"jti": "1"}), ".")[1] + "." + parts[2],
		"no signature":                     parts[0] + "." + parts[1] + ".",
		"a part more":                      fine + "." + parts[2],
		"a part less":                      parts[0] + "." + parts[1],
		"padding":                          fine + "=",
		"a line break":                     fine + "\n",
		"too long":                         with(map[string]any{"jti": strings.Repeat("j", MaxLength)}),
		"nothing":                          "",
		"dots":                             "..",
	} {
		if said, ok := verifier.Verify(token, audience); ok || said != (Token{}) {
			t.Errorf("%s: %+v", name, said)
		}
	}
	if _, ok := verifier.Verify(fine, audience); !ok {
		t.Fatal("the good token is refused")
	}
	if _, ok := (*Verifier)(nil).Verify(fine, audience); ok {
		t.Error("a token is verified without an issuer")
	}
	if _, ok := verifier.Verify(with(map[string]any{"aud": []string{""}}), ""); ok {
		t.Error("a token for nobody is good where there is no host")
	}
}

func TestParseIssuerTakesTheKeysThatItUnderstands(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	all := pairs()
	set := keySet(append(slices.Clone(all), pair{"small", "RS256", small}, pair{"rsa", "RS512", all[0].private},
		pair{"wrong", "ES256", all[0].private}, pair{"unknown", "HS256", all[0].private}, pair{"", "RS256", all[0].private})...)
	issuer, err := ParseIssuer(configuration, set)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, key := range issuer.Keys {
		ids = append(ids, key.ID+" "+key.Algorithm)
	}
	if want := []string{"p256 ES256", "p384 ES384", "p521 ES512", "rsa RS256", "rsa-384 RS384", "rsa-512 RS512"}; issuer.Name != issuerName || !slices.Equal(ids, want) {
		t.Errorf("issuer %s with %q, want %q", issuer.Name, ids, want)
	}
	many := make([]pair, maxKeys+1)
	for i := range many {
		many[i] = pair{fmt.Sprint(i), "RS256", all[0].private}
	}
	for name, test := range map[string][2][]byte{
		"no JSON":         {[]byte("<html>"), set},
		"no issuer":       {[]byte(`{"jwks_uri":"x"}`), set},
		"no JSON of keys": {configuration, []byte("<html>")},
		"no keys":         {configuration, []byte(`{"keys":[]}`)},
		"no usable keys":  {configuration, []byte(`{"keys":[{"kty":"oct","kid":"a","alg":"HS256","k":"AA"},{"kty":"EC","crv":"P-256","kid":"b","alg":"ES256","x":"AQ","y":"AQ"},{"kty":"RSA","kid":"c","alg":"RS256","n":"!","e":"AQAB"}]}`)},
		"too many keys":   {configuration, keySet(many...)},
	} {
		if issuer, err := ParseIssuer(test[0], test[1]); err == nil {
			t.Errorf("%s: %+v", name, issuer)
		}
	}
}

func TestNewVerifierRefusesWhatItCannotUse(t *testing.T) {
	issuer, err := ParseIssuer(configuration, keySet(pairs()[:2]...))
	if err != nil {
		t.Fatal(err)
	}
	key := issuer.Keys[0]
	for name, bad := range map[string]Issuer{
		"no name":              {Keys: issuer.Keys},
		"no keys":              {Name: issuerName},
		"a key twice":          {Name: issuerName, Keys: []Key{key, key}},
		"a key without a name": {Name: issuerName, Keys: []Key{{Algorithm: key.Algorithm, DER: key.DER}}},
		"an unknown algorithm": {Name: issuerName, Keys: []Key{{ID: "a", Algorithm: "none", DER: key.DER}}},
		"another algorithm":    {Name: issuerName, Keys: []Key{{ID: "a", Algorithm: "ES256", DER: key.DER}}},
		"no key":               {Name: issuerName, Keys: []Key{{ID: "a", Algorithm: "RS256", DER: []byte("x")}}},
	} {
		if _, err := NewVerifier(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestNamesOfServiceAccounts(t *testing.T) {
	for name, want := range map[string]bool{
		User("ci", "builder"): true, "system:serviceaccount:ci:": false, "system:serviceaccount::builder": false,
		"system:serviceaccount:ci:a:b": false, "monalisa": false, "": false,
	} {
		if IsUser(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if ID("a", "bc") == ID("ab", "c") || ID(User("ci", "builder"), "1") == ID(User("ci", "builder"), "2") {
		t.Error("two ServiceAccounts have one id")
	}
}

// FuzzVerify: a token is accepted if the issuer signed it as it stands.
func FuzzVerify(f *testing.F) {
	verifier := newVerifier(f, pairs()...)
	signed := map[string]bool{}
	for _, p := range pairs() {
		token := sign(f, p, good())
		signed[token[:strings.LastIndexByte(token, '.')]] = true
		f.Add(token)
		for _, forged := range []string{`{"alg":"none"}`, `{"alg":"HS256","kid":"rsa"}`, `{"alg":"ES256","kid":"p256","crit":["exp"]}`} {
			_, rest, _ := strings.Cut(token, ".")
			f.Add(base64.RawURLEncoding.EncodeToString([]byte(forged)) + "." + rest)
		}
	}
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		said, ok := verifier.Verify(token, audience)
		if !ok {
			return
		}
		if dot := strings.LastIndexByte(token, '.'); !signed[token[:dot]] || said.User != User("ci", "builder") {
			t.Errorf("%q is accepted as %+v", token, said)
		}
	})
}

// FuzzParseIssuer: whatever is published, a registry takes what was taken of it.
func FuzzParseIssuer(f *testing.F) {
	f.Add(string(configuration), string(keySet(pairs()...)))
	f.Add(`{"issuer":"a"}`, `{"keys":[{"kty":"RSA","kid":"a","alg":"RS256","n":"AQ","e":"AQ"}]}`)
	f.Fuzz(func(t *testing.T, configuration, set string) {
		issuer, err := ParseIssuer([]byte(configuration), []byte(set))
		if err != nil {
			return
		}
		if _, err := NewVerifier(issuer); err != nil {
			t.Errorf("what was parsed is not usable: %v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	verifier := newVerifier(b, pairs()...)
	for _, p := range []pair{pairs()[0], pairs()[3]} {
		token := sign(b, p, good())
		b.Run(p.algorithm, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := verifier.Verify(token, audience); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
}
