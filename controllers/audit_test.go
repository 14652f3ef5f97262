// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// auditLog reads the API server's audit log.
type auditLog struct{ path string }

func newAuditLog(path string) *auditLog { return &auditLog{path} }

// end is where the log ends now.
func (l *auditLog) end() int64 {
	GinkgoHelper()
	info, err := os.Stat(l.path)
	Expect(err).NotTo(HaveOccurred())
	return info.Size()
}

// requests are the manager's requests in a namespace since then with one of the
// verbs, Leases aside.
func (l *auditLog) requests(since int64, namespace string, verbs ...string) []string {
	GinkgoHelper()
	text, err := os.ReadFile(l.path)
	Expect(err).NotTo(HaveOccurred())
	var found []string
	lines := bufio.NewScanner(bytes.NewReader(text[since:]))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb      string
			User      struct{ Username string }
			ObjectRef struct{ Resource, Subresource, Namespace, Name string }
		}
		Expect(json.Unmarshal(lines.Bytes(), &event)).To(Succeed())
		ref := event.ObjectRef
		for _, verb := range verbs {
			if event.User.Username == managerUser && event.Verb == verb && ref.Resource != "leases" && ref.Namespace == namespace {
				found = append(found, fmt.Sprintf("%s %s/%s %s/%s", verb, ref.Resource, ref.Subresource, ref.Namespace, ref.Name))
			}
		}
	}
	Expect(lines.Err()).NotTo(HaveOccurred())
	return found
}

// writes are the manager's attempts to change anything.
func (l *auditLog) writes(since int64, namespace string) []string {
	GinkgoHelper()
	return l.requests(since, namespace, "create", "update", "patch", "delete", "deletecollection")
}
