// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
)

func TestTracesAreMadeWhenTheEnvironmentAsksForThem(t *testing.T) {
	type env map[string]string
	const endpoint = "http://collector:4318"
	for what, test := range map[string]struct {
		env  env
		want bool
		err  string
	}{
		"nothing":                  {env{}, false, ""},
		"an endpoint":              {env{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, true, ""},
		"an endpoint for traces":   {env{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint + "/v1/traces"}, true, ""},
		"the exporter":             {env{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		"no exporter":              {env{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, false, ""},
		"nothing of OpenTelemetry": {env{"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, false, ""},
		"another exporter":         {env{"OTEL_TRACES_EXPORTER": "zipkin"}, false, `OTEL_TRACES_EXPORTER is "zipkin"; write otlp or none`},
		"the protocol":             {env{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, true, ""},
		"another protocol":         {env{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"; write http/protobuf`},
		"another protocol, but not for traces": {env{
			"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
		}, true, ""},
		"no URL":            {env{"OTEL_EXPORTER_OTLP_ENDPOINT": "secret:4318"}, true, "OTEL_EXPORTER_OTLP_ENDPOINT is no URL such as"},
		"no URL for traces": {env{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://secret%zz"}, true, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no URL such as"},
		"headers":           {env{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x, y=z"}, true, ""},
		"a broken header":   {env{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_HEADERS": "a=b,Authorization: secret"}, true, "OTEL_EXPORTER_OTLP_HEADERS cannot be read; write KEY=VALUE"},
		"a wrongly escaped header": {
			env{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization=secret%zz"}, true, "OTEL_EXPORTER_OTLP_TRACES_HEADERS cannot be read",
		},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := Wanted(func(name string) string { return test.env[name] })
			if test.err == "" && (err != nil || got != test.want) {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
			if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("got %v, want an error with %q", err, test.err)
			}
		})
	}
}

func TestWithoutTracesThereIsNoTracer(t *testing.T) {
	t.Setenv("OTEL_SDK_DISABLED", "true")
	p, err := New(t.Context(), "1.2.3", logr.Discard())
	if err != nil || p != nil || p.Tracer() != nil || p.Close() != nil {
		t.Errorf("got %v, %v", p, err)
	}
}

func TestASettingThatIsLeftOutIsToldWithoutItsValue(t *testing.T) {
	var told []string
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "a secret")
	p, err := New(t.Context(), "1.2.3", funcr.New(func(_, text string) { told = append(told, text) }, funcr.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "left out") || strings.Contains(told[0], "secret") {
		t.Errorf("told %q", told)
	}
}

func TestThatTracesCannotBeSentIsToldOnceAMinute(t *testing.T) {
	told := 0
	now := time.Unix(1000, 0)
	c := &complaints{log: funcr.New(func(_, _ string) { told++ }, funcr.Options{}), now: func() time.Time { return now }}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {5 * time.Second, 1}, {54 * time.Second, 1}, {time.Second, 2}, {time.Second, 2}} {
		now = now.Add(step.after)
		c.Handle(errors.New("the collector is away"))
		if told != step.want {
			t.Errorf("at %s it is told %d times, want %d", now, told, step.want)
		}
	}
}
