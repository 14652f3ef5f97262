// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/packages-operator/packages-operator/registry/catalog/postgrestest"
)

// TestStatementsUseIndexesOnAServer runs every operation once and asks the server
// for a plan of each statement that neither walks a whole table nor sorts: it has
// one unless an index is missing.
func TestStatementsUseIndexesOnAServer(t *testing.T) {
	url := postgrestest.Start(t).Schema()
	s, err := Open(t.Context(), Options{URL: url, InstanceUID: "uid-1", GracePeriod: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	// Other tests have statements of their own.
	numbered.Clear()
	runEverything(t, s)

	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }()
	run := func(statement string) []string {
		t.Helper()
		results, err := c.PgConn().Exec(t.Context(), statement).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		var lines []string
		for _, r := range results[len(results)-1].Rows {
			lines = append(lines, string(r[0]))
		}
		return lines
	}
	run("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan")
	planned := 0
	for query := range numbered.Range {
		query := query.(string)
		verb, _, _ := strings.Cut(strings.TrimSpace(query), " ")
		// One row each, or as many as there are processes.
		if !slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE"}, verb) ||
			strings.Contains(query, "meta") || strings.Contains(query, "pg_class") || strings.Contains(query, "FROM epochs") {
			continue
		}
		planned++
		arguments := ""
		if n := strings.Count(query, "?"); n > 0 {
			arguments = "(" + strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ") + ")"
		}
		name := fmt.Sprintf("p%d", planned)
		run("PREPARE " + name + " AS " + numberArguments(query))
		for _, line := range run("EXPLAIN EXECUTE " + name + arguments) {
			if strings.Contains(line, "Seq Scan") || strings.Contains(line, "Sort") {
				t.Errorf("%s\nis run with: %s", query, line)
			}
		}
	}
	if planned < 50 {
		t.Fatalf("only %d statements were seen", planned)
	}
}
