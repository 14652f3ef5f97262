// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/packages-operator/packages-operator/api/v1alpha1"
	"github.com/packages-operator/packages-operator/check"
)

const monitoring = root + "/config/components/monitoring/"

// exported is what a running system exports: labels by series.
type exported map[string]map[string]bool

// add takes the series of an exposition.
func (e exported) add(text []byte) error {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return err
	}
	for name, family := range families {
		labels := map[string]bool{}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = true
			}
		}
		names := []string{name}
		if family.GetMetric()[0].GetHistogram() != nil {
			names = []string{name + "_bucket", name + "_sum", name + "_count"}
		}
		for _, series := range names {
			if e[series] == nil {
				e[series] = map[string]bool{}
			}
			maps.Copy(e[series], labels)
			if strings.HasSuffix(series, "_bucket") {
				e[series]["le"] = true
			}
		}
	}
	return nil
}

// scraped are labels that Prometheus and its operator add to whatever they scrape.
var scraped = []string{"namespace", "pod", "container", "job", "instance", "endpoint"}

// expression is what the command promql finds in a query.
type expression struct {
	Selectors []struct {
		Metric string
		Labels []string
	}
	Labels []string
}

// problems says what a query asks for that is not exported.
func (e exported) problems(query expression) []string {
	var found []string
	if len(query.Selectors) == 0 {
		found = append(found, "it selects nothing")
	}
	known := slices.Clone(scraped)
	for _, selector := range query.Selectors {
		labels, there := e[selector.Metric]
		if !there {
			found = append(found, "nobody exports "+selector.Metric)
			continue
		}
		for _, label := range selector.Labels {
			if !labels[label] && !slices.Contains(scraped, label) {
				found = append(found, selector.Metric+" has no label "+label)
			}
		}
		known = slices.AppendSeq(known, maps.Keys(labels))
	}
	for _, label := range query.Labels {
		if !slices.Contains(known, label) {
			found = append(found, "nothing in it has a label "+label)
		}
	}
	return found
}

func TestEveryQueryAsksForWhatManagerAndRegistryExport(t *testing.T) {
	all := exported{}
	binary := program(t)
	for what, scrape := range map[string]func(*testing.T, string) []byte{"registry": scrapeRegistry, "manager": scrapeManager} {
		if err := all.add(scrape(t, binary)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}

	queries := append(alertQueries(t), dashboardQueries(t)...)
	texts := make([]string, len(queries))
	for i, query := range queries {
		texts[i] = query.text
	}
	input, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	parser := exec.CommandContext(t.Context(), tool(t, "promql", "promql"))
	parser.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	parser.Stderr = &stderr
	out, err := parser.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	var expressions []expression
	if err := json.Unmarshal(out, &expressions); err != nil || len(expressions) != len(queries) {
		t.Fatalf("%v: %d of %d queries", err, len(expressions), len(queries))
	}
	for i, e := range expressions {
		for _, problem := range all.problems(e) {
			t.Errorf("%s: %s: %s", queries[i].where, problem, queries[i].text)
		}
	}

	// The check itself can fail.
	for text, want := range map[string]expression{
		"nobody exports packages_nothing":                                {Selectors: selectors("packages_nothing")},
		"packages_registry_requests_total has no label color":            {Selectors: selectors("packages_registry_requests_total", "color")},
		"nothing in it has a label color":                                {Selectors: selectors("packages_registry_requests_total"), Labels: []string{"color"}},
		"it selects nothing":                                             {},
		"packages_registry_request_duration_seconds_sum has no label le": {Selectors: selectors("packages_registry_request_duration_seconds_sum", "le")},
	} {
		if got := all.problems(want); !slices.Equal(got, []string{text}) {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}

func selectors(metric string, labels ...string) []struct {
	Metric string
	Labels []string
} {
	return []struct {
		Metric string
		Labels []string
	}{{metric, labels}}
}

// query is a PromQL expression, and where it stands.
type query struct{ where, text string }

func alertQueries(t *testing.T) []query {
	t.Helper()
	text, err := os.ReadFile(monitoring + "prometheus_rule.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rule struct {
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr string
					Labels      map[string]string
					Annotations map[string]string
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &rule); err != nil {
		t.Fatal(err)
	}
	var queries []query
	for _, group := range rule.Spec.Groups {
		for _, r := range group.Rules {
			if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("an alert lacks its name, severity, summary or description: %+v", r)
			}
			queries = append(queries, query{"alert " + r.Alert, r.Expr})
		}
	}
	if len(queries) == 0 {
		t.Fatal("no alerts")
	}
	return queries
}

var labelValues = regexp.MustCompile(`^label_values\((.+), [a-z_]+\)$`)

// dashboardQueries are those of the panels and of the dashboard's own variables.
func dashboardQueries(t *testing.T) []query {
	t.Helper()
	text, err := os.ReadFile(monitoring + "packages-operator.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Templating struct {
			List []struct {
				Name, Type string
				Query      json.RawMessage
			}
		}
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []query
	for _, variable := range dashboard.Templating.List {
		if variable.Type != "query" {
			continue
		}
		var q struct{ Query string }
		if err := json.Unmarshal(variable.Query, &q); err != nil {
			t.Fatal(err)
		}
		found := labelValues.FindStringSubmatch(q.Query)
		if found == nil {
			t.Fatalf("the variable %s: %s", variable.Name, q.Query)
		}
		queries = append(queries, query{"variable " + variable.Name, found[1]})
	}
	for _, panel := range dashboard.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("the panel %s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			queries = append(queries, query{"panel " + panel.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")})
		}
	}
	if len(queries) == 0 {
		t.Fatal("no panels")
	}
	return queries
}

// program builds packages-operator.
func program(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "packages-operator")
	if out, err := exec.Command("go", "build", "-o", binary, root+"/cmd/packages-operator").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// start runs the program until the test ends, or stop is called, and returns the first
// line of its log with this message.
func start(t *testing.T, message, binary string, args ...string) (line map[string]any, stop func()) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found, read := make(chan map[string]any, 1), make(chan struct{})
	go func() {
		defer close(read)
		said := false
		for lines := bufio.NewScanner(log); lines.Scan(); {
			var line map[string]any
			if json.Unmarshal(lines.Bytes(), &line) != nil || line["level"] == "ERROR" {
				t.Log(lines.Text())
			}
			if line["msg"] == message && !said {
				said = true
				found <- line
			}
		}
		if !said {
			close(found)
		}
	}()
	stop = sync.OnceFunc(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-read
		_ = cmd.Wait() // a signal ended it
	})
	t.Cleanup(stop)
	select {
	case line, there := <-found:
		if !there {
			t.Fatalf("%v ended", args)
		}
		return line, stop
	case <-time.After(2 * time.Minute):
		t.Fatalf("%v does not say %s", args, message)
	}
	return nil, nil
}

// scrapeRegistry has a registry do what docker asks of one, and a failed login.
func scrapeRegistry(t *testing.T, binary string) []byte {
	t.Helper()
	data := t.TempDir()
	serving, _ := start(t, "Serving", binary, "registry", "--standalone", root+"/config/samples/standalone", "--data-dir", data,
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--audit-log", filepath.Join(data, "audit.log"))
	r := &check.Registry{
		URL: "https://docker.packages.test", Address: fmt.Sprint(serving["address"]), Transport: http.DefaultTransport,
		User: "octocat", Password: "sample-only-octocat-0000000000000000000000000000", Repository: "octocat/octo-app",
		Random: rand.Reader, Report: func(string) {},
	}
	if err := r.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Password = "wrong"
	if err := r.Round(t.Context()); err == nil {
		t.Fatal("a wrong password was let in")
	}
	status, text := get(t, "http://"+fmt.Sprint(serving["admin"])+"/metrics", "")
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	return text
}

// scrapeManager has a manager with an instance, whose metrics are for those alone who
// may read them.
func scrapeManager(t *testing.T, binary string) []byte {
	t.Helper()
	server := startAPIServer(t)
	kubectl := tool(t, "control-plane", "kubectl")
	server.run(t, kubectl, "create", "namespace", namespace)
	server.apply(t, "crd")
	server.apply(t, "metrics")
	instance := &v1alpha1.PackagesInstance{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "acme"},
		Spec: v1alpha1.PackagesInstanceSpec{
			Hostname: "packages.example.com",
			Storage:  v1alpha1.StorageSpec{Filesystem: &v1alpha1.FilesystemStorage{Size: resource.MustParse("1Gi")}},
		},
	}
	eventually(t, func() error { return client.IgnoreAlreadyExists(server.admin.Create(t.Context(), instance)) })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, "Serving metrics server", binary, "manager", "--kubeconfig", server.kubeconfig, "--registry-image", "packages-operator:test",
		"--leader-elect", "--leader-election-namespace", "default", "--metrics-bind-address", address, "--health-probe-bind-address", "0")

	for _, account := range []string{"stranger", "prometheus"} {
		server.run(t, kubectl, "create", "serviceaccount", "--namespace", "default", account)
	}
	server.run(t, kubectl, "create", "clusterrolebinding", "prometheus", "--clusterrole", "packages-operator-metrics-reader", "--serviceaccount", "default:prometheus")
	token := func(account string) string {
		return strings.TrimSpace(server.run(t, kubectl, "create", "token", "--namespace", "default", account))
	}
	for _, test := range []struct {
		who, token string
		want       int
	}{
		{"nobody", "", http.StatusUnauthorized},
		// This is how controller-runtime puts it.
		{"somebody with a token of their own making", "not-a-token", http.StatusInternalServerError},
		{"an account without the right", token("stranger"), http.StatusForbidden},
	} {
		if status, _ := get(t, "https://"+address+"/metrics", test.token); status != test.want {
			t.Errorf("%s: status %d, want %d", test.who, status, test.want)
		}
	}
	prometheus := token("prometheus")
	var text []byte
	eventually(t, func() error {
		var status int
		status, text = get(t, "https://"+address+"/metrics", prometheus)
		if status != http.StatusOK || !bytes.Contains(text, []byte("\npackages_operator_instance_ready{")) {
			return fmt.Errorf("status %d, and no instance in the metrics", status)
		}
		return nil
	})
	return text
}

// get asks for metrics. The manager's certificate is new at each start.
func get(t *testing.T, url, token string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := (&http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, text
}
