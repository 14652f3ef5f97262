// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"

	"github.com/packages-operator/packages-operator/registry/clientaddr"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestAPanicEndsOneRequestAlone(t *testing.T) {
	m := newMetrics()
	var lines []string
	log := funcr.NewJSON(func(line string) { lines = append(lines, line) }, funcr.Options{})
	server := httptest.NewServer(&observer{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("out of cheese")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "fine")
	}), clients: clientaddr.Resolver{}, log: log, metrics: m})

	resp, err := http.Get(server.URL + "/panic")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	id := resp.Header.Get("X-Request-Id")
	if err != nil || resp.StatusCode != http.StatusInternalServerError || id == "" || !strings.Contains(string(body), id) || strings.Contains(string(body), "cheese") {
		t.Errorf("status %d, id %q: %s, %v", resp.StatusCode, id, body, err)
	}
	if resp, err := http.Get(server.URL + "/abort"); err == nil {
		_ = resp.Body.Close()
		t.Errorf("a handler that aborts has its connection closed, but status %d came", resp.StatusCode)
	}
	if resp, err = http.Get(server.URL + "/fine"); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the next request: %v", err)
	}
	_ = resp.Body.Close()
	server.Close() // which waits for the handlers

	if n := testutil.ToFloat64(m.inFlight); n != 0 {
		t.Errorf("%v requests are in flight for ever", n)
	}
	if n := testutil.ToFloat64(m.requests.child(0, http.MethodGet, 500)); n != 1 {
		t.Errorf("%v requests are counted as failed", n)
	}
	logged := false
	for _, line := range lines {
		logged = logged || strings.Contains(line, "out of cheese") && strings.Contains(line, id) && strings.Contains(line, "observe_test.go")
	}
	if !logged {
		t.Errorf("the panic is not in the log with its place and request: %v", lines)
	}
}
