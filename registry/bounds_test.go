// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/packages-operator/packages-operator/registry/registrytest"
)

func TestTheOldestIdleConnectionGivesWayToANewOne(t *testing.T) {
	const most = 8
	r := registrytest.Start(t, samplePolicy(), registrytest.Options{MaxConnections: most})
	var idle []net.Conn
	for range most {
		conn := dial(t, r.Addr)
		if status := ask(t, conn); status != http.StatusUnauthorized {
			t.Fatalf("status %d", status)
		}
		idle = append(idle, conn)
	}
	c := client{t: t, addr: r.Addr, value: writerValue}
	location := c.do("POST", "/v2/"+name+"/blobs/uploads/", nil).want(t, http.StatusAccepted).Header.Get("Location")
	upload := beginUpload(t, c, r.DataDir, "PATCH", location)
	// One idle connection gave way to the upload; the others do now, but not the
	// upload, whose request runs.
	for range 3 * most {
		if status := ask(t, dial(t, r.Addr)); status != http.StatusUnauthorized {
			t.Fatalf("status %d", status)
		}
	}
	for i, conn := range idle {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("idle connection %d: %v, want it closed", i, err)
		}
	}
	upload.write(t, []byte("the rest"))
	if status := upload.finish(); status != http.StatusAccepted {
		t.Errorf("the upload: status %d", status)
	}
	text := string(admin(t, r).do("GET", "/metrics", nil).want(t, http.StatusOK).body)
	for _, metric := range []string{"packages_registry_connections ", "packages_registry_connections_evicted_total "} {
		_, value, _ := strings.Cut(text, "\n"+metric)
		if value == "" || value[0] == '0' {
			t.Errorf("%sis %.10q", metric, value)
		}
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(time.Minute))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends GET /v2/ without a credential, and keeps the connection.
func ask(t *testing.T, conn net.Conn) int {
	t.Helper()
	if _, err := fmt.Fprint(conn, "GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}

func TestTheAdminPortHasFewConnections(t *testing.T) {
	r, _ := start(t)
	var idle []net.Conn
	for range 65 {
		conn := dial(t, r.AdminAddr)
		if status := ask(t, conn); status != http.StatusNotFound {
			t.Fatalf("status %d", status)
		}
		idle = append(idle, conn)
	}
	if _, err := idle[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the first of 65 connections: %v, want it closed", err)
	}
}
