// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package workload reads the tokens by which a Kubernetes cluster says for which
// ServiceAccount a program runs. Everything here is pure and safe for concurrent
// use; no function keeps a token, or puts one into an error.
package workload

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// userPrefix begins the name that Kubernetes gives the user that a ServiceAccount is.
// No user of a registry has a colon in their name.
const userPrefix = "system:serviceaccount:"

// User is the name that a ServiceAccount acts under, in Kubernetes and here.
func User(namespace, name string) string { return userPrefix + namespace + ":" + name }

// IsUser says whether a name is one that User returns.
func IsUser(user string) bool {
	rest, found := strings.CutPrefix(user, userPrefix)
	namespace, name, _ := strings.Cut(rest, ":")
	return found && namespace != "" && name != "" && !strings.Contains(name, ":")
}

// ID names one ServiceAccount in logs and bearer tokens, in 32 hex characters. One
// that is deleted and made again under its name is another.
func ID(user, uid string) string {
	var input []byte
	for _, part := range []string{"packages-operator.io/workload/id/v1", user, uid} {
		input = binary.BigEndian.AppendUint64(input, uint64(len(part)))
		input = append(input, part...)
	}
	sum := sha256.Sum256(input)
	return hex.EncodeToString(sum[:16])
}

// Token is what a verified token says.
type Token struct {
	// User is that of the ServiceAccount, and UID its metadata.uid.
	User string
	UID  string
	// The token holds from NotBefore until, but not at, Expires.
	NotBefore time.Time
	Expires   time.Time
}
