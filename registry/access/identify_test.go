// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/packages-operator/packages-operator/registry/credential"
	"github.com/packages-operator/packages-operator/registry/policy"
)

func TestIdentify(t *testing.T) {
	f := newFixture(t, nil)
	bearer := f.issue(t, "monalisa").Token
	tests := map[string]struct {
		header string
		user   string // of the actor; "refused" for ErrBadCredential
	}{
		"nobody":                    {"", ""},
		"basic":                     {basic("monalisa", valueOf("monalisa")), "monalisa"},
		"basic, another user name":  {basic("octocat", valueOf("monalisa")), "monalisa"},
		"basic, no user name":       {basic("", valueOf("monalisa")), "monalisa"},
		"basic, lower case":         {"basic " + strings.TrimPrefix(basic("x", valueOf("monalisa")), "Basic "), "monalisa"},
		"bearer":                    {"Bearer " + bearer, "monalisa"},
		"bearer, upper case":        {"BEARER " + bearer, "monalisa"},
		"wrong password":            {basic("monalisa", "wrong"), "refused"},
		"no password":               {basic("monalisa", ""), "refused"},
		"the hash as password":      {basic("monalisa", credential.Sum(valueOf("monalisa")).String()), "refused"},
		"the id as password":        {basic("monalisa", credential.ID(valueOf("monalisa"))), "refused"},
		"a value and more":          {basic("monalisa", valueOf("monalisa")+" "), "refused"},
		"a value in parts":          {basic("value-of", "monalisa"), "refused"},
		"no colon":                  {"Basic " + base64.StdEncoding.EncodeToString([]byte(valueOf("monalisa"))), "refused"},
		"no base64":                 {"Basic " + valueOf("monalisa"), "refused"},
		"basic, nothing":            {"Basic ", "refused"},
		"basic, much":               {basic("monalisa", strings.Repeat("x", 10_000)), "refused"},
		"bearer, nothing":           {"Bearer ", "refused"},
		"bearer, a value":           {"Bearer " + valueOf("monalisa"), "refused"},
		"bearer, two":               {"Bearer " + bearer + "," + bearer, "refused"},
		"a bearer token as Basic":   {basic("monalisa", bearer), "refused"},
		"another scheme":            {"Digest " + bearer, "refused"},
		"no scheme":                 {bearer, "refused"},
		"a scheme alone":            {"Bearer", "refused"},
		"two spaces":                {"Bearer  " + bearer, "refused"},
		"characters after a bearer": {"Bearer " + bearer + " ", "refused"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			actor, err := f.authority.Identify(f.snapshot, test.header)
			if test.user == "refused" {
				if !errors.Is(err, ErrBadCredential) {
					t.Errorf("got %v, want the one error that tells nothing", err)
				}
				if actor != (Actor{}) {
					t.Errorf("refused, and still %q", actor.User())
				}
				return
			}
			if err != nil || actor.User() != test.user || actor.Anonymous() != (test.user == "") {
				t.Errorf("got %q and %v, want %q", actor.User(), err, test.user)
			}
			if test.user != "" && (actor.CredentialID() != credential.ID(valueOf(test.user)) || actor.Token() != test.user+"-token") {
				t.Errorf("credential is %q of %q", actor.CredentialID(), actor.Token())
			}
		})
	}
}

func TestABearerTokenIsNoLogin(t *testing.T) {
	for _, header := range []string{basic("x", "y"), "Basic", "basic x", "Digest x", "x", "bearerx y"} {
		if !IsLogin(header) || !(TokenRequest{Authorization: header}).IsLogin() {
			t.Errorf("%q is no login", header)
		}
	}
	for _, header := range []string{"", "Bearer", "Bearer x", "bearer x", "BEARER x y"} {
		if IsLogin(header) || (TokenRequest{Authorization: header, Username: "monalisa"}).IsLogin() {
			t.Errorf("%q is a login", header)
		}
	}
	for _, request := range []TokenRequest{{Password: "x"}, {RefreshToken: "x"}, {Authorization: "Bearer x", Password: "x"}} {
		if !request.IsLogin() {
			t.Errorf("%+v is no login", request)
		}
	}
}

func TestExpiredCredentials(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) { find(p, "monalisa").NotAfter = new(start.Add(time.Hour)) })
	header := basic("monalisa", valueOf("monalisa"))
	for after, good := range map[time.Duration]bool{0: true, time.Hour - 1: true, time.Hour: false, 2 * time.Hour: false} {
		f.now = start.Add(after)
		if _, err := f.authority.Identify(f.snapshot, header); (err == nil) != good {
			t.Errorf("%v after its start: %v", after, err)
		}
		if _, err := f.authority.IssueToken(f.snapshot, TokenRequest{Authorization: header}); (err == nil) != good {
			t.Errorf("a bearer token %v after its start: %v", after, err)
		}
	}
}

func TestABearerTokenLastsAsLongAsItSays(t *testing.T) {
	f := newFixture(t, nil)
	header := "Bearer " + f.issue(t, "monalisa").Token
	for after, good := range map[time.Duration]bool{
		-leeway - time.Second:           false, // a clock far behind
		-leeway:                         true,
		0:                               true,
		TokenLifetime + leeway - 1:      true,
		TokenLifetime + leeway:          false,
		TokenLifetime + 24*time.Hour:    false,
		-24 * 365 * time.Hour:           false,
		TokenLifetime - time.Nanosecond: true,
	} {
		f.now = start.Add(after)
		if _, err := f.authority.Identify(f.snapshot, header); (err == nil) != good {
			t.Errorf("%v after it was issued: %v", after, err)
		}
	}
}

func TestABearerTokenStopsWithItsCredential(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) { find(p, "monalisa").NotAfter = new(start.Add(time.Minute)) })
	response := f.issue(t, "monalisa")
	if response.ExpiresIn != 60 {
		t.Errorf("the bearer token says that it lasts %d seconds, and its credential ends in 60", response.ExpiresIn)
	}
	header := "Bearer " + response.Token
	// To the moment: the credential's end has no leeway.
	f.now = start.Add(time.Minute - 1)
	f.identify(t, header)
	f.now = start.Add(time.Minute)
	if _, err := f.authority.Identify(f.snapshot, header); !errors.Is(err, ErrBadCredential) {
		t.Errorf("after its credential's end: %v", err)
	}

	// An earlier end, a removal: at once.
	f.now = start
	f.setPolicy(t, func(p *policy.Policy) { find(p, "monalisa").NotAfter = new(start) })
	if _, err := f.authority.Identify(f.snapshot, header); !errors.Is(err, ErrBadCredential) {
		t.Errorf("after its credential was ended: %v", err)
	}
	f.setPolicy(t, func(p *policy.Policy) { p.Credentials = p.Credentials[:1] })
	if _, err := f.authority.Identify(f.snapshot, header); !errors.Is(err, ErrBadCredential) {
		t.Errorf("after its credential was removed: %v", err)
	}
	f.setPolicy(t, nil)
	f.identify(t, header)
}

func TestABearerTokenIsForOneInstanceAndHost(t *testing.T) {
	f := newFixture(t, nil)
	header := "Bearer " + f.issue(t, "monalisa").Token
	for name, change := range map[string]func(*policy.Policy){
		"another instance": func(p *policy.Policy) { p.Instance.UID = "other" },
		"another host":     func(p *policy.Policy) { p.Hosts.Docker = "packages.test" },
	} {
		f.setPolicy(t, change)
		if _, err := f.authority.Identify(f.snapshot, header); !errors.Is(err, ErrBadCredential) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABearerTokenForNobodyStopsWithAnonymousPulls(t *testing.T) {
	f := newFixture(t, func(p *policy.Policy) { p.AnonymousPull = policy.AnonymousPublic })
	header := "Bearer " + f.issue(t, nobody, "repository:"+string(public)+":pull").Token
	actor := f.identify(t, header)
	if !actor.Anonymous() || Authorize(f.snapshot, actor, public, Pull).Verdict != Allow {
		t.Error("it does not pull")
	}
	if d := Authorize(f.snapshot, actor, "octocat/open/other", Pull); d.Verdict != InsufficientScope {
		t.Errorf("another public image: %s", d.Verdict)
	}
	f.setPolicy(t, nil)
	if _, err := f.authority.Identify(f.snapshot, header); !errors.Is(err, ErrBadCredential) {
		t.Errorf("after anonymous pulls ended: %v", err)
	}
	if d := Authorize(f.snapshot, actor, public, Pull); d.Verdict != Challenge {
		t.Errorf("a request that began before: %s", d.Verdict)
	}
}

// What we issue is what every JWT library understands.
func TestIssuedTokensAreJWTs(t *testing.T) {
	f := newFixture(t, nil)
	response := f.issue(t, "monalisa", "repository:"+string(private)+":pull,push")
	parsed, err := jwt.Parse(response.Token, func(*jwt.Token) (any, error) { return secret, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer("6a3b"), jwt.WithAudience("docker.packages.test"),
		jwt.WithSubject("monalisa"), jwt.WithIssuedAt(), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return f.now }))
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Header["kid"] != "0001" || parsed.Header["typ"] != "JWT" {
		t.Errorf("header is %v", parsed.Header)
	}
	claims := parsed.Claims.(jwt.MapClaims)
	if got := fmt.Sprint(claims["access"]); got != "[map[actions:[pull push] name:octocat/octo-app/monalisa type:repository]]" {
		t.Errorf("access is %s", got)
	}
	if claims["cid"] != credential.ID(valueOf("monalisa")) {
		t.Errorf("cid is %v", claims["cid"])
	}
	for part := range strings.SplitSeq(response.Token, ".") {
		decoded, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(decoded, []byte(valueOf("monalisa"))) {
			t.Error("the token holds the credential's value")
		}
	}
}

// forgery is a JWT that an attacker makes. Without changes it is accepted, so that
// every refusal below is due to its change.
type forgery struct {
	method jwt.SigningMethod
	key    any
	header map[string]any
	claims map[string]any
}

func (f *fixture) forgery() forgery {
	return forgery{
		method: jwt.SigningMethodHS256,
		key:    secret,
		header: map[string]any{"kid": "0001"},
		claims: map[string]any{
			"iss": "6a3b", "sub": "octocat", "aud": "docker.packages.test", "cid": credential.ID(valueOf("octocat")),
			"iat": f.now.Unix(), "nbf": f.now.Unix(), "exp": f.now.Add(time.Minute).Unix(),
			"access": []any{},
		},
	}
}

func (g forgery) sign(t *testing.T) string {
	t.Helper()
	token := jwt.NewWithClaims(g.method, orderedClaims(g.claims))
	maps.Copy(token.Header, g.header)
	signed, err := token.SignedString(g.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// orderedClaims marshals as our issuer does, so that order is no reason to refuse.
type orderedClaims jwt.MapClaims

func (c orderedClaims) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (c orderedClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (c orderedClaims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (c orderedClaims) GetIssuer() (string, error)                   { return "", nil }
func (c orderedClaims) GetSubject() (string, error)                  { return "", nil }
func (c orderedClaims) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

func (c orderedClaims) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	separator := "{"
	write := func(name string) error {
		value, found := c[name]
		if !found {
			return nil
		}
		encoded, err := json.Marshal(value)
		fmt.Fprintf(&b, "%s%q:%s", separator, name, encoded)
		separator = ","
		return err
	}
	known := []string{"iss", "sub", "aud", "iat", "nbf", "exp", "cid", "access"}
	for _, name := range known {
		if err := write(name); err != nil {
			return nil, err
		}
	}
	for name := range c {
		if !strings.Contains(" "+strings.Join(known, " ")+" ", " "+name+" ") {
			if err := write(name); err != nil {
				return nil, err
			}
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func TestForgedTokensAreRefused(t *testing.T) {
	f := newFixture(t, nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	genuine := f.forgery()
	if _, err := f.authority.Identify(f.snapshot, "Bearer "+genuine.sign(t)); err != nil {
		t.Fatalf("the genuine token is refused: %v", err)
	}

	tests := map[string]func(*forgery){
		"alg none":               func(g *forgery) { g.method, g.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType },
		"alg NONE in other case": func(g *forgery) { g.header["alg"] = "nOnE" },
		"HS384":                  func(g *forgery) { g.method = jwt.SigningMethodHS384 },
		"HS512":                  func(g *forgery) { g.method = jwt.SigningMethodHS512 },
		"RS256":                  func(g *forgery) { g.method, g.key = jwt.SigningMethodRS256, rsaKey },
		"ES256":                  func(g *forgery) { g.method, g.key = jwt.SigningMethodES256, ecKey },
		"alg of another case":    func(g *forgery) { g.header["alg"] = "hs256" },
		"a key of one's own":     func(g *forgery) { g.key = []byte(strings.Repeat("x", 32)) },
		"an empty key":           func(g *forgery) { g.key = []byte{} },
		"the key's name as key":  func(g *forgery) { g.key = []byte("0001") },
		"a foreign kid":          func(g *forgery) { g.header["kid"] = "0002" },
		"a kid that is a path":   func(g *forgery) { g.header["kid"] = "../../../../dev/null"; g.key = []byte{} },
		"a kid that is a number": func(g *forgery) { g.header["kid"] = 1 },
		"no kid":                 func(g *forgery) { g.header["kid"] = nil },
		"an embedded jwk": func(g *forgery) {
			g.header["jwk"] = map[string]string{"kty": "oct", "k": base64.RawURLEncoding.EncodeToString([]byte("attacker"))}
			g.key = []byte("attacker")
		},
		"jwk beside our key":   func(g *forgery) { g.header["jwk"] = map[string]string{"kty": "oct"} },
		"jku":                  func(g *forgery) { g.header["jku"] = "http://attacker.example/keys" },
		"x5c":                  func(g *forgery) { g.header["x5c"] = []string{"MIIB"} },
		"x5u":                  func(g *forgery) { g.header["x5u"] = "http://attacker.example/cert" },
		"crit":                 func(g *forgery) { g.header["crit"] = []string{"exp"} },
		"another typ":          func(g *forgery) { g.header["typ"] = "at+jwt" },
		"another issuer":       func(g *forgery) { g.claims["iss"] = "other" },
		"no issuer":            func(g *forgery) { delete(g.claims, "iss") },
		"another audience":     func(g *forgery) { g.claims["aud"] = "other.packages.test" },
		"a list of audiences":  func(g *forgery) { g.claims["aud"] = []string{"docker.packages.test"} },
		"no audience":          func(g *forgery) { delete(g.claims, "aud") },
		"expired":              func(g *forgery) { g.claims["exp"] = f.now.Add(-leeway).Unix() },
		"no end":               func(g *forgery) { delete(g.claims, "exp") },
		"an end in text":       func(g *forgery) { g.claims["exp"] = "9999999999" },
		"a fractional end":     func(g *forgery) { g.claims["exp"] = 9999999999.5 },
		"not yet valid":        func(g *forgery) { g.claims["nbf"] = f.now.Add(time.Minute).Unix() },
		"no start":             func(g *forgery) { delete(g.claims, "nbf") },
		"another's credential": func(g *forgery) { g.claims["cid"] = credential.ID("unknown") },
		"no credential":        func(g *forgery) { delete(g.claims, "cid") }, // anonymous pulls are denied
		"an unknown claim":     func(g *forgery) { g.claims["admin"] = true },
		"a claim in upper case": func(g *forgery) {
			delete(g.claims, "sub")
			g.claims["Sub"] = "octocat"
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			forged := f.forgery()
			change(&forged)
			if actor, err := f.authority.Identify(f.snapshot, "Bearer "+forged.sign(t)); !errors.Is(err, ErrBadCredential) {
				t.Errorf("accepted as %q: %v", actor.User(), err)
			}
		})
	}
}

// signRaw signs any payload under the fixture's key, as only we could.
func signRaw(header, payload string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestTokensOfAnotherFormAreRefused(t *testing.T) {
	f := newFixture(t, nil)
	const header = `{"alg":"HS256","kid":"0001","typ":"JWT"}`
	payload := fmt.Sprintf(`{"iss":"6a3b","sub":"octocat","aud":"docker.packages.test","iat":%d,"nbf":%d,"exp":%d,"cid":"%s","access":[]}`,
		f.now.Unix(), f.now.Unix(), f.now.Add(time.Minute).Unix(), credential.ID(valueOf("octocat")))
	good := signRaw(header, payload)
	f.identify(t, "Bearer "+good)
	parts := strings.Split(good, ".")

	tests := map[string]string{
		"header with spaces":          signRaw(`{"alg":"HS256", "kid":"0001","typ":"JWT"}`, payload),
		"header in another order":     signRaw(`{"kid":"0001","alg":"HS256","typ":"JWT"}`, payload),
		"alg twice in the header":     signRaw(`{"alg":"none","alg":"HS256","kid":"0001","typ":"JWT"}`, payload),
		"kid twice in the header":     signRaw(`{"alg":"HS256","kid":"x","kid":"0001","typ":"JWT"}`, payload),
		"cid twice in the payload":    signRaw(header, strings.Replace(payload, `"cid"`, `"cid":"x","cid"`, 1)),
		"exp twice in the payload":    signRaw(header, strings.Replace(payload, `"exp"`, `"exp":1,"exp"`, 1)),
		"exp in another case as well": signRaw(header, strings.Replace(payload, `"exp"`, `"EXP":1,"exp"`, 1)),
		"payload with spaces":         signRaw(header, payload+" "),
		"payload, then another":       signRaw(header, payload+payload),
		"payload that is null":        signRaw(header, "null"),
		"payload that is a list":      signRaw(header, "[]"),
		"payload that is empty":       signRaw(header, ""),
		"payload that is no JSON":     signRaw(header, "{"),
		"deeply nested payload":       signRaw(header, strings.Repeat("[", 2000)),
		"20 kB":                       signRaw(header, strings.Replace(payload, "octocat", strings.Repeat("o", 15_000), 1)),
		"no signature":                parts[0] + "." + parts[1] + ".",
		"two parts":                   parts[0] + "." + parts[1],
		"four parts":                  good + "." + parts[2],
		"parts exchanged":             parts[1] + "." + parts[0] + "." + parts[2],
		"another token's payload":     parts[0] + "." + strings.Split(signRaw(header, strings.Replace(payload, "octocat", "hubot", 1)), ".")[1] + "." + parts[2],
		"padded signature":            good + "=",
		"signature in other base64":   parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]) + "!",
		"last character of another":   good[:len(good)-1] + otherLast(good),
		"empty":                       "",
		"dots":                        "..",
	}
	for name, token := range tests {
		t.Run(name, func(t *testing.T) {
			if actor, err := f.authority.Identify(f.snapshot, "Bearer "+token); !errors.Is(err, ErrBadCredential) {
				t.Errorf("accepted as %q: %v", actor.User(), err)
			}
		})
	}
}

// otherLast replaces the last character of a signature by the next one, which
// stands for the same bytes in careless base64: its last two bits are unused.
func otherLast(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, token[len(token)-1])+1])
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	f := newFixture(t, nil)
	token := f.issue(t, "octocat", "repository:"+string(private)+":pull").Token
	f.identify(t, "Bearer "+token)
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		if _, err := f.authority.Identify(f.snapshot, "Bearer "+string(changed)); !errors.Is(err, ErrBadCredential) {
			t.Fatalf("byte %d changed, and still accepted", i)
		}
	}
}

func TestTokensOfAnotherKeyAreRefused(t *testing.T) {
	ours, theirs := newFixture(t, nil), newFixture(t, nil)
	keys, err := NewKeys(map[string][]byte{"0001": bytes.Repeat([]byte("z"), KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	theirs.authority = New(keys, func() time.Time { return start })
	if _, err := ours.authority.Identify(ours.snapshot, "Bearer "+theirs.issue(t, "octocat").Token); !errors.Is(err, ErrBadCredential) {
		t.Errorf("accepted: %v", err)
	}
}

func TestMoreTokensThanAreRemembered(t *testing.T) {
	f := newFixture(t, nil)
	first := "Bearer " + f.issue(t, "octocat").Token
	for i := range maxVerified + 10 {
		f.identify(t, "Bearer "+f.issue(t, "octocat", fmt.Sprintf("repository:octocat/open/image-%d:pull", i)).Token)
	}
	if n := len(f.keys.verified.claims); n > maxVerified {
		t.Errorf("%d tokens are remembered, at most %d may be", n, maxVerified)
	}
	f.identify(t, first)
}

// Garbage takes no memory: only what we signed is remembered.
func TestRefusedTokensAreNotRemembered(t *testing.T) {
	f := newFixture(t, nil)
	for i := range 100 {
		_, err := f.authority.Identify(f.snapshot, "Bearer "+signRaw(`{"alg":"HS256","kid":"0001","typ":"JWT"}`, fmt.Sprintf(`{"sub":%d}`, i)))
		if !errors.Is(err, ErrBadCredential) {
			t.Fatal(err)
		}
	}
	if n := len(f.keys.verified.claims); n != 0 {
		t.Errorf("%d refused tokens are remembered", n)
	}
}
