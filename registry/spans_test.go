// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	export "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/packages-operator/packages-operator/registry/registrytest"
	"github.com/packages-operator/packages-operator/registry/tracing"
)

// receiver is a collector of traces: OTLP over HTTP.
type receiver struct {
	mu       sync.Mutex
	headers  []http.Header
	spans    []*otlp.Span
	resource map[string]string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var request export.ExportTraceServiceRequest
	if err != nil || req.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
		http.Error(w, "this is no export of traces", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers = append(r.headers, req.Header)
	for _, of := range request.ResourceSpans {
		r.resource = attributes(of.Resource.Attributes)
		for _, in := range of.ScopeSpans {
			r.spans = append(r.spans, in.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func attributes(list []*common.KeyValue) map[string]string {
	found := map[string]string{}
	for _, a := range list {
		value := a.Value.GetStringValue()
		if _, ok := a.Value.Value.(*common.AnyValue_IntValue); ok {
			value = "a number"
		}
		found[a.Key] = value
	}
	return found
}

// one is the span with the name and the parent, of which there is one.
func (r *receiver) one(t *testing.T, name string, parent []byte) *otlp.Span {
	t.Helper()
	var found []*otlp.Span
	for _, s := range r.spans {
		if s.Name == name && slices.Equal(s.ParentSpanId, parent) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("there are %d spans %s under %x, want one", len(found), name, parent)
	}
	return found[0]
}

// startTraced runs a registry that sends traces to a receiver. Stopping has sent
// all.
func startTraced(t *testing.T) (c client, to *receiver, lines *logLines, stop func()) {
	t.Helper()
	to, lines = &receiver{}, &logLines{}
	server := httptest.NewServer(to)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=for%20the%20collector")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	log := funcr.NewJSON(lines.add, funcr.Options{Verbosity: 10})
	traces, err := tracing.New(t.Context(), "1.2.3", log)
	if err != nil {
		t.Fatal(err)
	}
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{Tracer: traces.Tracer(), Log: &log})
	return client{t: t, addr: r.Addr, value: writerValue}, to, lines, func() {
		r.Stop(t)
		if err := traces.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRequestsAndWhatTheyAskOfTheStoresAreTraced(t *testing.T) {
	c, to, lines, stop := startTraced(t)
	c.pushImage(name, "1.0", strings.Repeat("layer", 20_000))
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	pulled := c.do("GET", "/v2/"+name+"/manifests/1.0", nil, header{"Traceparent", "00-" + trace + "-" + parent + "-01"}).want(t, http.StatusOK)
	c.do("GET", "/v2/"+name+"/manifests/2.0", nil, header{"Traceparent", "00-" + trace + "-00f067aa0ba902b7-00"}).want(t, http.StatusNotFound)
	stop()

	// The client's trace goes on.
	under, _ := hex.DecodeString(parent)
	request := to.one(t, "ManifestGet", under)
	if hex.EncodeToString(request.TraceId) != trace || request.Kind != otlp.Span_SPAN_KIND_SERVER || request.EndTimeUnixNano <= request.StartTimeUnixNano {
		t.Errorf("the request's span is %v", request)
	}
	want := map[string]string{
		"http.request.method": "GET", "http.response.status_code": "a number", "packages.route": "ManifestGet",
		"packages.request_id": pulled.Header.Get("X-Request-Id"), "packages.name": name, "packages.reference": "1.0",
		"client.address": "127.0.0.1", "user_agent.original": "Go-http-client/1.1",
		"http.request.body.size": "a number", "http.response.body.size": "a number",
	}
	if diff := cmp.Diff(want, attributes(request.Attributes)); diff != "" {
		t.Errorf("its attributes (-want +got):\n%s", diff)
	}
	for _, operation := range []string{"catalog.ResolveTag", "catalog.Manifest"} {
		if s := to.one(t, operation, request.SpanId); !slices.Equal(s.TraceId, request.TraceId) || s.Status.GetCode() != otlp.Status_STATUS_CODE_UNSET {
			t.Errorf("the span of the operation is %v", s)
		}
	}
	// The client that asked not to be recorded is not.
	if n := slices.IndexFunc(to.spans, func(s *otlp.Span) bool { return attributes(s.Attributes)["packages.reference"] == "2.0" }); n >= 0 {
		t.Errorf("it is recorded: %v", to.spans[n])
	}
	// Other requests begin traces of their own, and the blob store is in them.
	var push *otlp.Span
	for _, s := range to.spans {
		if s.Name == "blob.Append" {
			push = s
		}
	}
	if push == nil {
		t.Fatal("the blob store is in no trace")
	}
	finished := slices.IndexFunc(to.spans, func(s *otlp.Span) bool { return s.Name == "UploadFinish" && slices.Equal(s.SpanId, push.ParentSpanId) })
	if finished < 0 || len(to.spans[finished].ParentSpanId) != 0 {
		t.Error("the bytes were written for no request that began a trace")
	}
	to.one(t, "ManifestPut", nil)

	if to.resource["service.name"] != tracing.ServiceName || to.resource["service.version"] != "1.2.3" || to.resource["deployment.environment.name"] != "test" {
		t.Errorf("the traces are of %v", to.resource)
	}
	if got := to.headers[0].Get("Authorization"); got != "for the collector" {
		t.Errorf("the collector got the header %q", got)
	}
	if log := strings.Join(lines.all(), "\n"); !strings.Contains(log, `"trace":"`+trace+`"`) || strings.Contains(log, "for the collector") {
		t.Error("the log does not name the trace, or tells the collector's secret")
	}
}

func TestNoSecretReachesATrace(t *testing.T) {
	c, to, _, stop := startTraced(t)
	secrets := presentCredentials(t, c)
	stop()
	if len(to.spans) < 50 {
		t.Errorf("there are only %d spans, so that this test looked at little", len(to.spans))
	}
	for _, s := range to.spans {
		text := s.String()
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("a span has the secret %s: %s", secret, text)
			}
		}
	}
}

func TestACollectorThatIsAwayHoldsNothingUp(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	var mu sync.Mutex
	var told []string
	traces, err := tracing.New(t.Context(), "1.2.3", funcr.New(func(_, text string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, text)
	}, funcr.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{Tracer: traces.Tracer()})
	c := client{t: t, addr: r.Addr, value: writerValue}
	c.pushImage(name, "1.0", "layer")
	eventually(t, "the log tells that traces are incomplete", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(strings.Join(told, "\n"), "Traces are incomplete")
	})
	c.do("GET", "/v2/"+name+"/manifests/1.0", nil).want(t, http.StatusOK)
	r.Stop(t)
	_ = traces.Close() // which says that the last ones are lost, too
}
