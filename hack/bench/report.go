// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything about a run.
type report struct {
	Date   time.Time `json:"date"`
	Commit string    `json:"commit"`
	// Machine is what the run was on.
	Machine machine  `json:"machine"`
	Rounds  int      `json:"rounds"`
	Quick   bool     `json:"quick,omitempty"`
	Rows    []result `json:"rows"`
}

type machine struct {
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	MemoryMiB int64  `json:"memoryMiB"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	// Congestion is how TCP controls congestion: bbr paces even what stays on the
	// machine, cubic does not.
	Congestion string `json:"congestion"`
	// Load is the load average of the last minute, and of 5 and 15, when the run
	// began: what else the machine had to do.
	Load string `json:"load"`
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores of %s, %d MiB, Linux %s, tcp %s, %s, load %s", m.Cores, m.Processor, m.MemoryMiB, m.Kernel, m.Congestion, m.Go, m.Load)
}

// thisMachine reads /proc; what it does not find it leaves empty.
func thisMachine() machine {
	read := func(path string) string {
		content, _ := os.ReadFile(path)
		return string(content)
	}
	field := func(text, name string) string {
		_, rest, _ := strings.Cut(text, name)
		line, _, _ := strings.Cut(rest, "\n")
		return strings.Trim(line, ": \t")
	}
	kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(field(read("/proc/meminfo"), "MemTotal"), " kB"), 10, 64)
	load := strings.Fields(read("/proc/loadavg"))
	return machine{
		Processor:  field(read("/proc/cpuinfo"), "model name"),
		Cores:      runtime.NumCPU(),
		MemoryMiB:  kilobytes >> 10,
		Kernel:     strings.TrimSpace(read("/proc/sys/kernel/osrelease")),
		Go:         runtime.Version(),
		Congestion: strings.TrimSpace(read("/proc/sys/net/ipv4/tcp_congestion_control")),
		Load:       strings.Join(load[:min(3, len(load))], " "),
	}
}

// commit is the version of the source that this runs in, or empty.
func commit() string {
	output, err := exec.Command("git", "describe", "--always", "--abbrev=12", "--dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(output))
}

// format writes a number with three digits that count.
func format(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// sortedServers are a row's servers: ours first, then its peers, the floor last.
func sortedServers(r result) []string {
	place := map[string]int{oursName: -1, floorName: 1}
	names := make([]string, 0, len(r.Servers))
	for name := range r.Servers {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if place[a] != place[b] {
			return place[a] - place[b]
		}
		return strings.Compare(a, b)
	})
	return names
}

// serversOf are the servers of all rows, in the order of sortedServers.
func serversOf(rows []result) []string {
	all := result{Servers: map[string]*measured{}}
	for _, r := range rows {
		for name, m := range r.Servers {
			all.Servers[name] = m
		}
	}
	return sortedServers(all)
}

// writeTables writes what was reached, how long operations took, and what they
// cost.
func (r *report) writeTables(w io.Writer, bars []bar) error {
	servers := serversOf(r.Rows)
	var peers []string
	for _, server := range servers {
		if server != oursName {
			peers = append(peers, server)
		}
	}
	reached := [][]string{slices.Concat([]string{"median of rounds", ""}, servers, prefixed("ours/", peers), []string{"goal"})}
	times := [][]string{append([]string{"p50 / p99, ms"}, servers...)}
	costs := [][]string{slices.Concat([]string{"CPU, ms for each"}, servers, []string{"| RSS, MiB"}, servers)}
	for _, row := range r.Rows {
		values, latencies, cpu, memory := []string{row.Row, string(row.Unit)}, []string{row.Row}, []string{row.Row}, []string{"|"}
		for _, server := range servers {
			values = append(values, cell(row, server, func(m *measured) string { return format(m.Value) }))
			latencies = append(latencies, cell(row, server, func(m *measured) string { return format(m.P50) + " / " + format(m.P99) }))
			cpu = append(cpu, cell(row, server, func(m *measured) string { return format(m.CPU * 1000 / max(m.Operations, 1)) }))
			memory = append(memory, cell(row, server, func(m *measured) string { return format(m.RSS) }))
		}
		for _, peer := range peers {
			text := "–"
			if ratio, found := row.Ratios[peer]; found {
				text = format(ratio)
			}
			values = append(values, text)
		}
		reached = append(reached, append(values, verdict(bars, row)))
		times = append(times, latencies)
		costs = append(costs, append(cpu, memory...))
	}
	_, err := fmt.Fprintf(w, "\n%s, %s: %s\n", r.Date.Format(time.DateTime), r.Commit, r.Machine)
	for _, table := range [][][]string{reached, times, costs} {
		err = errors.Join(err, writeTable(w, table))
	}
	return err
}

func prefixed(prefix string, texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = prefix + text
	}
	return all
}

// cell is what a table shows of a server in a row.
func cell(r result, server string, show func(*measured) string) string {
	m := r.Servers[server]
	switch {
	case m == nil || m.NotSupported:
		return "–"
	case m.Failure != "":
		return "failed"
	}
	return show(m)
}

// writeTable aligns the columns of lines.
func writeTable(w io.Writer, lines [][]string) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	text := "\n"
	for _, line := range lines {
		text += strings.Join(line, "\t") + "\n"
	}
	_, err := io.WriteString(out, text)
	return errors.Join(err, out.Flush())
}

// save writes the report as PREFIX.json, PREFIX.txt and PREFIX.svg.
func (r *report) save(prefix string, bars []bar) error {
	if err := os.MkdirAll(filepath.Dir(prefix), 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var tables, plot bytes.Buffer
	if err := errors.Join(r.writeTables(&tables, bars), r.writePlot(&plot)); err != nil {
		return err
	}
	for extension, content := range map[string][]byte{".json": append(data, '\n'), ".txt": tables.Bytes(), ".svg": plot.Bytes()} {
		if err := os.WriteFile(prefix+extension, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
