// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/packages-operator/packages-operator/test/rights"
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
	// A line that was being written then is of a request before it.
	for since > 0 && int(since) < len(text) && text[since-1] != '\n' {
		since++
	}
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

// refusedOnPurpose is what specs had refused to the manager, to see what it does then.
var refusedOnPurpose []string

// All specs together use every right of the manager, and nothing more.
var _ = AfterSuite(func() {
	if audit == nil {
		return // the suite did not begin
	}
	file, err := os.Open(audit.path)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = file.Close() }()
	log, err := rights.Read(file, func(user string) bool { return user == managerUser })
	Expect(err).NotTo(HaveOccurred())
	Expect(slices.DeleteFunc(log.Refused(), func(refused string) bool { return slices.Contains(refusedOnPurpose, refused) })).
		To(BeEmpty(), "what was refused")
	suite, _ := GinkgoConfiguration()
	if len(suite.FocusStrings)+len(suite.SkipStrings)+len(suite.FocusFiles)+len(suite.SkipFiles) > 0 || suite.LabelFilter != "" {
		return
	}
	Expect(log.Unused(rights.Of(managerRole().Rules))).To(Or(BeEmpty(), ConsistOf(rights.Seldom)), "rights that the manager has and did not use")
})

// writes are the manager's attempts to change anything.
func (l *auditLog) writes(since int64, namespace string) []string {
	GinkgoHelper()
	return l.requests(since, namespace, "create", "update", "patch", "delete", "deletecollection")
}
