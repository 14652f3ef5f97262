// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Bench measures our registry beside others, in one run on one machine: rows of
// work, and for each, round after round, every server in turn. What counts is the
// ratio of ours to another server's value in the same round; the figures
// themselves move with the machine and with what else it does.
//
//	make bench                                  all rows, three rounds
//	make bench BENCH_FLAGS='-rows=push-layer,pull-layer -rounds=5'
//	make bench-quick                            a minute, as continuous integration does
//
// The servers are ours, the binary as users run it, with tokens checked and
// everything on the disk before it is acknowledged; distribution, with descriptors
// in memory and no users; and the floor, a server that does nothing but what any
// must (hack/bench/floor). Others, which run already, are named with -registry.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed bars.txt
var barsText string

// init keeps the main goroutine on the main thread: servers end with the thread
// that started them.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	programs programs
	rows     []row
	remotes  []*server
	rounds   int
	quick    bool
	dir, out string
}

const introduction = `usage: bench [flags]

Measures our registry beside distribution and a server that does nothing but what
any must. make bench builds what it needs.

Flags:
`

// rowsHelp lists the rows.
func rowsHelp(all []row) string {
	var b strings.Builder
	b.WriteString("\nRows (* in the quick form):\n")
	for _, r := range all {
		mark := " "
		if r.quick {
			mark = "*"
		}
		fmt.Fprintf(&b, "  %s %-20s %s, %s\n", mark, r.name, r.title, r.unit)
	}
	return b.String()
}

func parseOptions(arguments []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.programs.ours, "ours", "bin/packages-operator", "`path` of our program")
	flags.StringVar(&o.programs.distribution, "distribution", "", "`path` of distribution's registry")
	flags.StringVar(&o.programs.floor, "floor", "bin/floor", "`path` of the floor server")
	flags.StringVar(&o.programs.s3, "s3", "", "`path` of versitygw, for the rows with S3")
	flags.IntVar(&o.rounds, "rounds", 3, "how often every server is measured at every row")
	flags.BoolVar(&o.quick, "quick", false, "measure little, of the most important rows, in a minute; fail where ours is twice as bad, by its ratio to a peer, as it once was, and that twice in a row")
	flags.StringVar(&o.dir, "dir", "run", "`directory` that the servers keep their data below; on the disk that is to be measured, with 50 GiB of room for all rows")
	flags.StringVar(&o.out, "out", "run/bench", "`prefix` of the files that the result is written to, as .json, .txt and .svg")
	var names string
	flags.StringVar(&names, "rows", "", "`names` of the rows to measure, separated by commas; a name that ends in * stands for all that begin so (default: all)")
	flags.Func("registry", "`NAME=URL` of a further registry that runs already, on which repository "+repository+" may be written; may be given several times. A user and their token or password stand in the URL", func(text string) error {
		remote, err := parseRemote(text)
		o.remotes = append(o.remotes, remote)
		return err
	})
	flags.Usage = func() {
		_, _ = io.WriteString(flags.Output(), introduction) // there is nowhere to tell
		flags.PrintDefaults()
		_, _ = io.WriteString(flags.Output(), rowsHelp(rows))
	}
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag; see -help", flags.Arg(0))
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds is %d; write 1 or more", o.rounds)
	}
	o.rows, err = chooseRows(rows, names, o.quick)
	return o, err
}

// chooseRows keeps the rows that are named, in their own order; without names all,
// or those of the quick form.
func chooseRows(all []row, names string, quick bool) (chosen []row, err error) {
	if names == "" {
		return slices.DeleteFunc(slices.Clone(all), func(r row) bool { return quick && !r.quick }), nil
	}
	wanted := map[string]bool{}
	for pattern := range strings.SplitSeq(names, ",") {
		prefix, open := strings.CutSuffix(pattern, "*")
		found := false
		for _, r := range all {
			if r.name == pattern || open && strings.HasPrefix(r.name, prefix) {
				wanted[r.name], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("-rows: there is no row %q; -help lists them", pattern)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(r row) bool { return !wanted[r.name] }), nil
}

func run(ctx context.Context, arguments []string) error {
	o, err := parseOptions(arguments)
	if err != nil {
		return err
	}
	bars, err := parseBars(strings.NewReader(barsText), rows)
	if err != nil {
		return fmt.Errorf("bars.txt: %w", err)
	}
	if err := o.programs.check(fleetsOf(o.rows)); err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	r := runner{programs: o.programs, remotes: o.remotes, dir: o.dir, rounds: o.rounds, scale: fullScale, progress: os.Stderr}
	if o.quick {
		r.scale = quickScale
	}
	report := report{Date: time.Now().UTC(), Commit: commit(), Machine: thisMachine(), Rounds: o.rounds, Quick: o.quick}
	report.Rows, err = r.run(ctx, o.rows)
	if err != nil {
		return err
	}
	if o.quick {
		if err := r.again(ctx, doubtful(o.rows, bars, report.Rows), report.Rows); err != nil {
			return err
		}
	}
	if err := errors.Join(report.writeTables(os.Stdout, bars), report.save(o.out, bars)); err != nil {
		return err
	}
	problems := failures(report.Rows)
	if o.quick {
		problems = append(problems, regressions(bars, report.Rows)...)
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "\nbench: "))
	}
	return nil
}
