// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tracing sets up OpenTelemetry traces when the environment asks for them,
// in the variables of the OpenTelemetry specification ("SDK configuration" and
// "OTLP exporter"). Spans go to a collector by OTLP over HTTP.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// ServiceName is what the traces are of, unless OTEL_SERVICE_NAME or
	// OTEL_RESOURCE_ATTRIBUTES say otherwise.
	ServiceName = "packages-operator-registry"
	// scope names the code that makes the spans.
	scope = "github.com/packages-operator/packages-operator/registry"
	// flushTimeout bounds how long the last spans may take to be sent.
	flushTimeout = 5 * time.Second
)

// Wanted reads from the environment whether there are to be traces. Without
// OTEL_TRACES_EXPORTER there are if an endpoint is named: nobody is sent anything
// unasked. What asks for something that this program does not have is an error
// that says what to write.
func Wanted(getenv func(string) string) (bool, error) {
	value := func(name string) string { return strings.TrimSpace(getenv(name)) }
	if strings.EqualFold(value("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := value("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "":
		if value("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
			return false, nil
		}
	case "otlp":
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q; write otlp or none", exporter)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch protocol := value(name); protocol {
		case "":
			continue
		case "http/protobuf":
		default:
			return false, fmt.Errorf("%s is %q; write http/protobuf, and the collector's port for it (4318 by default)", name, protocol)
		}
		break
	}
	return true, errors.Join(
		checkEndpoint("OTEL_EXPORTER_OTLP_ENDPOINT", value), checkEndpoint("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value),
		checkHeaders("OTEL_EXPORTER_OTLP_HEADERS", value), checkHeaders("OTEL_EXPORTER_OTLP_TRACES_HEADERS", value),
	)
}

// checkEndpoint does not repeat the URL, which may hold a password.
func checkEndpoint(name string, value func(string) string) error {
	text := value(name)
	if text == "" {
		return nil
	}
	if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%s is no URL such as http://collector:4318", name)
	}
	return nil
}

// checkHeaders does not repeat what is wrong: headers are where secrets are.
func checkHeaders(name string, value func(string) string) error {
	text := value(name)
	if text == "" {
		return nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		key, escaped, found := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(escaped); !found || strings.TrimSpace(key) == "" || err != nil {
			return fmt.Errorf("%s cannot be read; write KEY=VALUE,KEY=VALUE with percent-encoded values", name)
		}
	}
	return nil
}

// Provider makes spans and sends them.
type Provider struct{ sdk *sdktrace.TracerProvider }

// sink takes what the SDK says about variables that it cannot read. Their values,
// which it tells as well, may be secrets.
type sink struct{ log logr.Logger }

func (sink) Init(logr.RuntimeInfo)            {}
func (sink) Enabled(int) bool                 { return false }
func (sink) Info(int, string, ...any)         {}
func (s sink) WithValues(...any) logr.LogSink { return s }
func (s sink) WithName(string) logr.LogSink   { return s }
func (s sink) Error(_ error, what string, _ ...any) {
	s.log.Error(errVariable, "A setting of OpenTelemetry is left out", "what", what)
}

var errVariable = errors.New("a variable OTEL_… cannot be read")

// complaintInterval is how often it is told at most that traces cannot be sent, which
// is tried every few seconds.
const complaintInterval = time.Minute

// complaints tells errors of a running SDK. It is safe for concurrent use.
type complaints struct {
	log logr.Logger
	now func() time.Time

	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.last.IsZero() || now.Sub(c.last) >= complaintInterval {
		c.last = now
		c.log.Error(err, "Traces are incomplete")
	}
}

// New returns nil if the environment asks for no traces. Version is the program's.
// What cannot be sent later is told to log.
func New(ctx context.Context, version string, log logr.Logger) (*Provider, error) {
	wanted, err := Wanted(os.Getenv)
	if err != nil || !wanted {
		return nil, err
	}
	// The SDK reports through these alone.
	otel.SetLogger(logr.New(sink{log}))
	otel.SetErrorHandler(&complaints{log: log, now: time.Now})
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up the exporter of traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", ServiceName), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err), exporter.Shutdown(ctx))
	}
	// The sampler and the batches are the SDK's to read from the environment.
	return &Provider{sdk: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))}, nil
}

// Tracer is nil without a Provider.
func (p *Provider) Tracer() trace.Tracer {
	if p == nil {
		return nil
	}
	return p.sdk.Tracer(scope)
}

// Close sends the last spans.
func (p *Provider) Close() error {
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := p.sdk.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}
