// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"strings"

	"github.com/packages-operator/packages-operator/registry/ref"
)

// CatalogScope is what listing repositories needs.
const CatalogScope = typeRegistry + ":" + catalogName + ":" + catalogAction

// ScopeFor is the scope that a challenge asks for, so that the next token does for
// the action and for what clients do along with it: pushing reads, too.
func ScopeFor(name ref.Name, action Action) string {
	actions := rules[action].name
	if action != Pull {
		actions = rules[Pull].name + "," + actions
	}
	return typeRepository + ":" + string(name) + ":" + actions
}

// ChallengeHeader is the value of WWW-Authenticate (RFC 6750, section 3) that sends
// clients to the token endpoint. realm is its URL, service the Docker host; scope
// and errorCode may be empty.
func ChallengeHeader(realm, service, scope, errorCode string) string {
	var b strings.Builder
	b.WriteString("Bearer realm=")
	quote(&b, realm)
	b.WriteString(",service=")
	quote(&b, service)
	if scope != "" {
		b.WriteString(",scope=")
		quote(&b, scope)
	}
	if errorCode != "" {
		b.WriteString(",error=")
		quote(&b, errorCode)
	}
	return b.String()
}

// quote writes a quoted-string of RFC 9110, without characters that no header
// may have.
func quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}
