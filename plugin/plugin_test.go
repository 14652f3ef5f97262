// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/plugin"
	"github.com/packages-operator/packages-operator/plugin/picture"
	"github.com/packages-operator/packages-operator/registry/policy"
	"github.com/packages-operator/packages-operator/registry/registrytest"
)

const host = "docker.packages.test"

func conditions(status metav1.ConditionStatus, reason, message string, more ...metav1.Condition) []metav1.Condition {
	return append(more, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.Now(), ObservedGeneration: 1,
	})
}

func ready() []metav1.Condition { return conditions(metav1.ConditionTrue, "Succeeded", "in force") }

func stalled(reason, message string) []metav1.Condition {
	return conditions(metav1.ConditionFalse, reason, message, metav1.Condition{
		Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: metav1.Now(),
	})
}

func newInstance() *v1alpha1.PackagesInstance {
	return &v1alpha1.PackagesInstance{
		ObjectMeta: metav1.ObjectMeta{Name: "acme"},
		Spec: v1alpha1.PackagesInstanceSpec{
			Hostname: "packages.test",
			Storage:  v1alpha1.StorageSpec{Filesystem: &v1alpha1.FilesystemStorage{Size: resource.MustParse("1Gi")}},
		},
		Status: v1alpha1.PackagesInstanceStatus{
			ObservedGeneration: 1, Conditions: ready(),
			Endpoints: v1alpha1.InstanceEndpoints{Docker: &v1alpha1.Endpoint{Host: host, URL: "https://" + host}},
		},
	}
}

func newToken(name, user string) *v1alpha1.PackagesToken {
	return &v1alpha1.PackagesToken{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.PackagesTokenSpec{
			InstanceRef: v1alpha1.InstanceReference{Name: "acme"}, User: user,
			Scopes: []v1alpha1.Scope{v1alpha1.ScopeReadPackages}, Secret: &v1alpha1.TokenSecret{Name: name + "-token"},
		},
		Status: v1alpha1.PackagesTokenStatus{ObservedGeneration: 1, Conditions: ready()},
	}
}

func newSecret(name, user string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-token"},
		Data: map[string][]byte{
			v1alpha1.TokenKeyUsername: []byte(user), v1alpha1.TokenKeyPassword: []byte(value), v1alpha1.TokenKeyRegistry: []byte(host),
		},
	}
}

func TestLoginTakesATokenToDocker(t *testing.T) {
	d := newDesk(t)
	d.create(newInstance(), newToken("monalisa", "monalisa"), newSecret("monalisa", "monalisa"))
	o := d.run("login", "monalisa")
	if o.status != plugin.ExitWell || !strings.Contains(o.out, "Logged in to "+host+" as monalisa") {
		t.Errorf("it says %q", o.out)
	}
	if !strings.Contains(o.err, "stored unencrypted in "+filepath.Join(d.docker, "config.json")) {
		t.Errorf("it does not warn: %q", o.err)
	}
	if strings.Contains(o.out+o.err, value) {
		t.Error("it prints the value")
	}
	const entry = "bW9uYWxpc2E6cGtndF8wMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"
	if !strings.Contains(d.config(), entry) {
		t.Errorf("docker's configuration is %s", d.config())
	}
	d.works("logout")
	if strings.Contains(d.config(), entry) {
		t.Errorf("after logging out docker's configuration is %s", d.config())
	}
	if out := d.works("logout", host); !strings.Contains(out, "was not logged in") {
		t.Errorf("logging out again says %q", out)
	}
}

func TestLoginGivesAHelperTheToken(t *testing.T) {
	d := newDesk(t)
	d.create(newToken("monalisa", "monalisa"), newSecret("monalisa", "monalisa"))
	folder := t.TempDir()
	kept := filepath.Join(folder, "kept")
	script := "#!/bin/sh\n[ \"$1\" = store ] && cat >'" + kept + "'\n"
	if err := os.WriteFile(filepath.Join(folder, "docker-credential-keeper"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	if err := os.MkdirAll(d.docker, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.docker, "config.json"), []byte(`{"credsStore":"keeper"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	o := d.run("login")
	if o.status != plugin.ExitWell || o.err != "" || !strings.Contains(o.out, "kept by docker-credential-keeper") {
		t.Errorf("it says %+v", o)
	}
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(text, &got); err != nil || got["ServerURL"] != host || got["Username"] != "monalisa" || got["Secret"] != value {
		t.Errorf("the helper got %s, %v", text, err)
	}
}

// The docker command itself finds what login kept, and does not after logout.
func TestDockerFindsTheLogin(t *testing.T) {
	if _, err := exec.LookPath("docker"); err != nil {
		t.Fatal("this test needs the docker command: hack/apt.sh clients")
	}
	p := registrytest.Policy()
	p.Repositories = []policy.Repository{{Owner: "monalisa", Name: "octo-app", Visibility: policy.Private}}
	p.Credentials = []policy.Credential{registrytest.Credential(value, "monalisa", policy.ScopeRead, policy.ScopeWrite)}
	registry := registrytest.Start(t, p, registrytest.Options{})
	image, err := name.NewTag(registry.Image("monalisa/octo-app/hello:1"), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	content, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(image, content, remote.WithAuth(&authn.Basic{Username: "monalisa", Password: value})); err != nil {
		t.Fatal(err)
	}

	folder := t.TempDir()
	kept := filepath.Join(folder, "kept")
	script := "#!/bin/sh\ncase $1 in\nstore) cat >'" + kept + "' ;;\nget) cat '" + kept + "' 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;\nerase) rm '" + kept + "' ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(folder, "docker-credential-keeper"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, config := range []string{`{}`, `{"credsStore":"keeper"}`} {
		d := newDesk(t)
		secret := newSecret("monalisa", "monalisa")
		secret.Data[v1alpha1.TokenKeyRegistry] = []byte(registry.Addr)
		d.create(newToken("monalisa", "monalisa"), secret)
		if err := os.MkdirAll(d.docker, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.docker, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		inspect := func() (string, error) {
			out, err := exec.CommandContext(t.Context(), "docker", "manifest", "inspect", "--insecure", image.String()).CombinedOutput()
			return string(out), err
		}
		if out, err := inspect(); err == nil {
			t.Errorf("%s: docker needs no login: %s", config, out)
		}
		d.works("login", "monalisa")
		if out, err := inspect(); err != nil || !strings.Contains(out, "schemaVersion") {
			t.Errorf("%s: docker does not find the login: %v: %s", config, err, out)
		}
		d.works("logout", registry.Addr)
		if out, err := inspect(); err == nil {
			t.Errorf("%s: docker finds the login after logout: %s", config, out)
		}
	}
}

func TestLoginChoosesTheTokenThatFits(t *testing.T) {
	d := newDesk(t)
	d.fails(1, "there is no PackagesToken in the namespace", "login")
	d.fails(1, "there is no PackagesToken monalisa in the namespace "+d.namespace, "login", "monalisa")
	d.create(newInstance(), newToken("monalisa", "monalisa"), newSecret("monalisa", "monalisa"), newToken("ci", "hubot"), newSecret("ci", "hubot"))
	d.fails(1, "more than one PackagesToken in the namespace "+d.namespace+": name one of ci, monalisa", "login")
	d.fails(1, "there is no PackagesToken of octocat for the instance acme", "login", "--username", "octocat", "--instance", "acme")
	d.fails(1, "is hubot's, not monalisa's", "login", "ci", "--username", "monalisa")
	d.fails(1, "is for the instance acme, not for other", "login", "ci", "--instance", "other")
	if out := d.works("login", "-u", "hubot"); !strings.Contains(out, "as hubot") {
		t.Errorf("it says %q", out)
	}
}

func TestLoginTakesAValueThatSomebodyBrought(t *testing.T) {
	d := newDesk(t)
	token := newToken("mine", "monalisa")
	token.Spec.Secret, token.Spec.Source = nil, &v1alpha1.TokenSource{SecretRef: v1alpha1.SecretKeyReference{Name: "mine", Key: "secret"}}
	d.create(newInstance(), token, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Data: map[string][]byte{"secret": []byte(value)}})
	if out := d.works("login", "mine"); !strings.Contains(out, "Logged in to "+host+" as monalisa") {
		t.Errorf("it says %q", out)
	}
}

func TestLoginSaysWhatIsMissing(t *testing.T) {
	d := newDesk(t)
	d.create(newToken("monalisa", "monalisa"))
	d.fails(1, "the Secret monalisa-token of the PackagesToken monalisa is not there", "login")
	secret := newSecret("monalisa", "monalisa")
	delete(secret.Data, v1alpha1.TokenKeyPassword)
	d.create(secret)
	d.fails(1, "the Secret monalisa-token of the PackagesToken monalisa has no key password", "login")

	expired := newToken("old", "hubot")
	expired.Status.Conditions = stalled(v1alpha1.ReasonExpired, "spec.expiresAt has passed")
	unseen := newToken("new", "octocat")
	unseen.Status = v1alpha1.PackagesTokenStatus{ObservedGeneration: -1}
	early := newToken("early", "octocat")
	early.Status.Conditions = conditions(metav1.ConditionFalse, v1alpha1.ReasonInstanceNotReady, "the instance is not ready")
	d.create(expired, unseen, early, newSecret("early", "octocat"))
	d.fails(1, "the PackagesToken old does not work: Expired: spec.expiresAt has passed", "login", "old")
	d.fails(1, "the operator has not looked at the PackagesToken new yet", "login", "new")
	if o := d.run("login", "early"); o.status != 0 || !strings.Contains(o.err, "does not work yet: InstanceNotReady") {
		t.Errorf("with a token that waits for its instance: %+v", o)
	}

	before := `{"auths":`
	if err := os.WriteFile(filepath.Join(d.docker, "config.json"), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	d.fails(1, "is left as it is", "login", "early")
	if d.config() != before {
		t.Errorf("the broken configuration became %q", d.config())
	}
}

func TestWithoutARightItSaysWhich(t *testing.T) {
	d := newDesk(t)
	d.create(newInstance(), newToken("monalisa", "monalisa"), newSecret("monalisa", "monalisa"))
	d.somebody("nobody", nil)
	d.fails(2, `you lack the right: packagesinstances.packages-operator.io is forbidden: User "nobody" cannot list`, "status")
	d.fails(1, "you lack the right: packagestokens.packages-operator.io", "login")
	d.fails(1, "you lack the right", "token", "create", "x", "--instance", "acme")

	d.somebody("viewer", func() client.Object {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: "viewer"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "viewer"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "viewer"}},
		}
	})
	if err := api.Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: "viewer"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"*"}, Verbs: []string{"get", "list"}}},
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return strings.Contains(d.run("login").err, `cannot get resource "secrets"`) })
	// A picture without what may not be seen is still one.
	out := d.works("status")
	for _, resource := range []string{"persistentvolumeclaims", "statefulsets", "pods", "ingresses"} {
		if !strings.Contains(out, "You may not see "+resource) {
			t.Errorf("status does not say that %s are missing:\n%s", resource, out)
		}
	}
}

func TestStatusTellsByItsExitStatus(t *testing.T) {
	d := newDesk(t)
	d.fails(2, "there is no PackagesInstance in the namespace "+d.namespace, "status")
	d.fails(2, "there is no PackagesInstance other in the namespace", "status", "other")
	d.fails(2, `--output is "yaml": write json`, "status", "-o", "yaml")
	d.create(newInstance(), newToken("monalisa", "monalisa"), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "acme-packages-data", Labels: map[string]string{v1alpha1.LabelInstance: "acme"}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	})
	out := d.works("status", "acme")
	for _, part := range []string{"/acme: Ready", "acme-packages-data, 1Gi, Pending", "monalisa", "All is well."} {
		if !strings.Contains(out, part) {
			t.Errorf("status lacks %q:\n%s", part, out)
		}
	}
	expired := newToken("old", "hubot")
	expired.Status.Conditions = stalled(v1alpha1.ReasonExpired, "spec.expiresAt has passed")
	d.create(expired)
	o := d.run("status", "-o", "json")
	var seen picture.Picture
	if err := json.Unmarshal([]byte(o.out), &seen); err != nil {
		t.Fatal(err)
	}
	if o.status != plugin.ExitFailed || o.err != "" || seen.Well || len(seen.Problems) != 1 || seen.Problems[0].Name != "old" || seen.Problems[0].Reason != v1alpha1.ReasonExpired {
		t.Errorf("exit status %d, %q, %+v", o.status, o.err, seen.Problems)
	}
	if o := d.run("status", "--all-namespaces"); !strings.Contains(o.out, "PackagesInstance "+d.namespace+"/acme") {
		t.Errorf("the picture of all namespaces lacks this one: %s", o.out)
	}
}

func TestStatusLooksAcrossNamespacesThatBelongTogether(t *testing.T) {
	d := newDesk(t)
	instance := newInstance()
	d.create(instance)
	other := newDesk(t)
	instance.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespaces{{Names: []string{other.namespace}, Owners: []string{"octocat"}}}
	if err := api.Update(t.Context(), instance); err != nil {
		t.Fatal(err)
	}
	instance.Status.ObservedGeneration = instance.Generation
	if err := api.Status().Update(t.Context(), instance); err != nil {
		t.Fatal(err)
	}
	token := newToken("foreign", "hubot")
	token.Spec.InstanceRef.Namespace = d.namespace
	other.create(token, newSecret("foreign", "hubot"))

	if out := d.works("status"); !strings.Contains(out, "foreign (of "+other.namespace+")") {
		t.Errorf("the instance's picture lacks another namespace's token:\n%s", out)
	}
	if out := other.works("status"); !strings.Contains(out, "PackagesInstance "+d.namespace+"/acme: Ready") {
		t.Errorf("the picture lacks the instance of another namespace:\n%s", out)
	}
	if out := other.works("login", "--instance", d.namespace+"/acme"); !strings.Contains(out, "as hubot") {
		t.Errorf("it says %q", out)
	}
	other.fails(1, "there is no PackagesToken for the instance acme", "login", "--instance", "acme")
	if out := other.works("token", "create", "more", "--instance", d.namespace+"/acme", "--dry-run"); !strings.Contains(out, "namespace: "+d.namespace) {
		t.Errorf("it prints\n%s", out)
	}
}

func TestTokenCreateWaitsUntilTheTokenWorks(t *testing.T) {
	d := newDesk(t)
	d.create(newInstance())
	d.operator(func(token *v1alpha1.PackagesToken) []metav1.Condition {
		if token.Spec.User == "octo-org" {
			return stalled(v1alpha1.ReasonUserIsOrganization, "octo-org is an organization")
		}
		return ready()
	})
	out := d.works("token", "create", "ci", "--username", "hubot", "--scopes", "read:packages,write:packages",
		"--repository", "octocat/octo-app", "--repository", "octo-org/*", "--expires", "720h", "--rotate", "168h", "--overlap", "24h", "--type", "DockerConfigJSON")
	if want := "its value is the key password of the Secret ci-token in the namespace " + d.namespace; !strings.Contains(out, want) {
		t.Errorf("it says %q", out)
	}
	token := &v1alpha1.PackagesToken{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: d.namespace, Name: "ci"}, token); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(token.Spec)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"instanceRef":{"name":"acme"},"user":"hubot","scopes":["read:packages","write:packages"],"repositories":["octocat/octo-app","octo-org/*"],` +
		`"expiresAt":"2026-12-27T12:00:00Z","rotation":{"interval":"168h0m0s","overlap":"24h0m0s"},"secret":{"name":"ci-token","type":"DockerConfigJSON"}}`
	if string(got) != want {
		t.Errorf("it made\n%s, not\n%s", got, want)
	}

	o := d.run("token", "create", "shown", "--show")
	if o.status != 0 || o.out != value+"\n" || !strings.Contains(o.err, "The PackagesToken shown works") {
		t.Errorf("--show: %+v", o)
	}
	var told map[string]string
	if err := json.Unmarshal([]byte(d.works("token", "create", "told", "-o", "json")), &told); err != nil || told["secret"] != "told-token" || told["user"] != "told" {
		t.Errorf("-o json: %v, %v", told, err)
	}
	d.fails(1, "was made, and does not work: UserIsOrganization: octo-org is an organization", "token", "create", "octo-org")
	d.fails(1, "there is a PackagesToken ci already", "token", "create", "ci")
}

func TestTokenCreateRefusesWhatCannotWork(t *testing.T) {
	d := newDesk(t)
	d.fails(1, "there is no PackagesInstance in the namespace", "token", "create", "ci")
	d.create(newInstance())
	d.fails(1, "there is no PackagesInstance other", "token", "create", "ci", "--instance", "other")
	d.fails(1, "accepts 1 arg(s)", "token", "create")
	d.fails(1, `--expires is "soon"`, "token", "create", "ci", "--expires", "soon")
	d.fails(1, "which is not in the future", "token", "create", "ci", "--expires", "2020-01-01T00:00:00Z")
	d.fails(1, "--overlap is of no use without --rotate", "token", "create", "ci", "--overlap", "1h")
	d.fails(1, "--show prints the value alone", "token", "create", "ci", "--show", "-o", "json")
	// The API server's own words name the field.
	d.fails(1, `spec.scopes[0]`, "token", "create", "ci", "--scopes", "admin")
	d.fails(1, "spec.user: Invalid value: \"Hubot\": write it in lower case: hubot", "token", "create", "ci", "--username", "Hubot")
	d.fails(1, "was made, and does not work after 100ms: the operator has not looked at it", "token", "create", "ci", "--timeout", "100ms")
	if out := d.works("token", "create", "later", "--timeout", "0"); !strings.Contains(out, "The PackagesToken later is made") {
		t.Errorf("without waiting it says %q", out)
	}
}

func TestTokenCreatePrintsTheObjectForGit(t *testing.T) {
	d := newDesk(t)
	d.create(newInstance())
	const want = `apiVersion: packages-operator.io/v1alpha1
kind: PackagesToken
metadata:
  name: ci
spec:
  instanceRef:
    name: acme
  scopes:
  - read:packages
  secret:
    name: ci-token
    type: Opaque
  user: ci
`
	for _, args := range [][]string{{}, {"--instance", "acme"}} {
		if out := d.works(append([]string{"token", "create", "ci", "--dry-run"}, args...)...); out != want {
			t.Errorf("it prints\n%s", out)
		}
	}
	var tokens v1alpha1.PackagesTokenList
	if err := api.List(t.Context(), &tokens, client.InNamespace(d.namespace)); err != nil || len(tokens.Items) > 0 {
		t.Errorf("it made %d tokens, %v", len(tokens.Items), err)
	}
}

func TestWithoutAClusterItSaysSo(t *testing.T) {
	if bare.status != plugin.ExitUnknown || !strings.Contains(bare.err, "does not know the kinds of packages-operator: install it first") {
		t.Errorf("without the definitions: %+v", bare)
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, test := range []struct {
		args []string
		say  string
	}{
		{[]string{"status"}, "there is no cluster to talk to: name a kubeconfig file"},
		{[]string{"status", "--kubeconfig", "/nowhere/config"}, "reading the kubeconfig"},
		{[]string{"status", "--kubeconfig", admin, "--context", "nobody"}, `reading the kubeconfig: context "nobody" does not exist`},
		{[]string{"status", "--server", "https://127.0.0.1:1"}, "the cluster at https://127.0.0.1:1 cannot be reached"},
		{[]string{"status", "--kubeconfig", strangers(t)}, "does not accept the kubeconfig's credential: sign in to it again"},
	} {
		if o := execute(t.Context(), test.args...); o.status != plugin.ExitUnknown || !strings.Contains(o.err, test.say) {
			t.Errorf("%v: %+v", test.args, o)
		}
	}
}

// strangers is a kubeconfig file whose token the cluster does not know.
func strangers(t *testing.T) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		*user = clientcmdapi.AuthInfo{Token: "wrong"}
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// kubectl runs the real kubectl with the plugin on PATH.
func (d *desk) kubectl(args ...string) string {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), filepath.Join(assets, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+string(os.PathListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+d.kubeconfig)
	out, err := cmd.Output()
	if err != nil {
		d.t.Errorf("kubectl %v: %v", args, err)
	}
	return string(out)
}

func TestKubectlFindsThePlugin(t *testing.T) {
	d := newDesk(t)
	d.create(newInstance(), newToken("monalisa", "monalisa"), newToken("ci", "hubot"), &v1alpha1.PackagesRepository{
		ObjectMeta: metav1.ObjectMeta{Name: "octo-app"},
		Spec:       v1alpha1.PackagesRepositorySpec{InstanceRef: v1alpha1.InstanceReference{Name: "acme"}, Owner: "octocat", Name: "octo-app"},
	})
	if out := d.kubectl("packages", "version"); out != "v1.2.3-test\n" {
		t.Errorf("the version is %q", out)
	}
	if out := d.kubectl("packages", "token", "create", "--help"); !strings.Contains(out, "kubectl packages token create NAME [flags]") || !strings.Contains(out, "Examples:") {
		t.Errorf("the help is %s", out)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := d.kubectl("packages", "completion", shell); !strings.Contains(out, "kubectl-packages") {
			t.Errorf("the completion of %s does not name the program", shell)
		}
	}
	// What a TAB asks kubectl, and kubectl the plugin.
	for _, test := range []struct {
		words []string
		want  []string
	}{
		{[]string{"packages", "lo"}, []string{"login", "logout"}},
		{[]string{"packages", "login", ""}, []string{"ci", "monalisa"}},
		{[]string{"packages", "login", "mon"}, []string{"monalisa"}},
		{[]string{"packages", "status", ""}, []string{"acme"}},
		{[]string{"packages", "token", "create", "x", "--scopes", ""}, []string{"read:packages", "write:packages", "delete:packages"}},
		{[]string{"packages", "token", "create", "x", "--repository", ""}, []string{"octocat/octo-app"}},
		{[]string{"packages", "login", "--instance", ""}, []string{"acme"}},
	} {
		words := append([]string{"__completeNoDesc"}, test.words[:len(test.words)-1]...)
		words = append(words, "--namespace", d.namespace, test.words[len(test.words)-1])
		if last := test.words[len(test.words)-2]; strings.HasPrefix(last, "--") {
			// A flag stands right before its value.
			words = append([]string{"__completeNoDesc"}, test.words[:len(test.words)-2]...)
			words = append(words, "--namespace", d.namespace, last, test.words[len(test.words)-1])
		}
		var got []string
		for line := range strings.Lines(d.kubectl(words...)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, ":") {
				got = append(got, line)
			}
		}
		if strings.Join(got, " ") != strings.Join(test.want, " ") {
			t.Errorf("%v completes to %v, not to %v", test.words, got, test.want)
		}
	}
}

// operator plays the operator: it gives tokens a Secret and these conditions.
func (d *desk) operator(judge func(*v1alpha1.PackagesToken) []metav1.Condition) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	d.t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			var tokens v1alpha1.PackagesTokenList
			if err := api.List(ctx, &tokens, client.InNamespace(d.namespace)); err == nil {
				for i := range tokens.Items {
					token := &tokens.Items[i]
					if token.Status.ObservedGeneration == token.Generation {
						continue
					}
					secret := newSecret(token.Name, token.Spec.User)
					secret.Namespace = d.namespace
					_ = api.Create(ctx, secret)
					token.Status = v1alpha1.PackagesTokenStatus{ObservedGeneration: token.Generation, Conditions: judge(token)}
					_ = api.Status().Update(ctx, token)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(100 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Error("it never comes true")
}
