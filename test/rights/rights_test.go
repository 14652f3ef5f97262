// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rights_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/packages-operator/packages-operator/test/rights"
)

const audit = `{"verb":"get","user":{"username":"ours"},"objectRef":{"resource":"pods","namespace":"a"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"patch","user":{"username":"ours"},"objectRef":{"apiGroup":"apps","resource":"deployments","subresource":"scale"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"list","user":{"username":"theirs"},"objectRef":{"resource":"pods"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"list","user":{"username":"ours"},"objectRef":{"resource":"secrets","namespace":"b"},"annotations":{"authorization.k8s.io/decision":"forbid"}}
{"verb":"list","user":{"username":"theirs"},"objectRef":{"resource":"nodes"},"annotations":{"authorization.k8s.io/decision":"forbid"}}
{"verb":"patch","user":{"username":"ours"},"objectRef":{"resource":"services"},"responseStatus":{"code":201},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"patch","user":{"username":"ours"},"objectRef":{"resource":"roles"},"responseStatus":{"code":200},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"watch","user":{"username":"ours"},"requestURI":"/api/v1/services?sendInitialEvents=true&watch=true","objectRef":{"resource":"services"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"watch","user":{"username":"ours"},"requestURI":"/api/v1/roles?watch=true","objectRef":{"resource":"roles"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"get","user":{"username":"ours"},"requestURI":"/version?timeout=32s","annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"get","user":{"username":"ou`

func TestALogTellsWhatIsNotUsedAndWhatIsRefused(t *testing.T) {
	log, err := rights.Read(strings.NewReader(audit), func(name string) bool { return name == "ours" })
	if err != nil {
		t.Fatal(err)
	}
	granted := rights.Of([]rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments", "deployments/scale"}, Verbs: []string{"patch"}},
		{APIGroups: []string{""}, Resources: []string{"services", "roles"}, Verbs: []string{"create", "list", "patch", "watch"}},
		{NonResourceURLs: []string{"/version", "/openid/v1/jwks"}, Verbs: []string{"get"}},
	})
	if diff := cmp.Diff([]string{"list pods", "patch deployments.apps", "create roles", "list roles", "get /openid/v1/jwks"}, log.Unused(granted)); diff != "" {
		t.Errorf("unused (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`ours may not list secrets in "b"`}, log.Refused()); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

func TestALogThatIsNoneIsAnError(t *testing.T) {
	if _, err := rights.Read(strings.NewReader("hello\n"), func(string) bool { return true }); err == nil {
		t.Error("no error")
	}
}
