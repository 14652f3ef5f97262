// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress writes what the demo does, with numbered steps and times. Its
// methods may be called by several goroutines.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	now   func() time.Time
	began time.Time
	total int
	steps []finishedStep
	title string
}

type finishedStep struct {
	title string
	took  time.Duration
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, now: time.Now, began: time.Now()}
}

// step runs one numbered step. The number of steps is known from plan.
func (p *progress) step(title string, do func() error) error {
	p.mu.Lock()
	p.title = title
	_, _ = fmt.Fprintf(p.out, "\n[%d/%d  %s] %s\n", len(p.steps)+1, p.total, clock(p.now().Sub(p.began)), title)
	p.mu.Unlock()
	began := p.now()
	if err := do(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = append(p.steps, finishedStep{title, p.now().Sub(began)})
	return nil
}

// say writes lines that belong to the current step.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	for line := range strings.Lines(text + "\n") {
		_, _ = io.WriteString(p.out, strings.TrimRight("      "+line, " \n")+"\n")
	}
}

// Write lets commands show their output, a line at a time as far as they write so.
func (p *progress) Write(data []byte) (int, error) {
	p.say("%s", data)
	return len(data), nil
}

// table lists the finished steps with their seconds.
func (p *progress) table() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintln(p.out)
	for i, s := range p.steps {
		_, _ = fmt.Fprintf(p.out, "%3d %8.1f s  %s\n", i+1, s.took.Seconds(), s.title)
	}
	_, _ = fmt.Fprintf(p.out, "    %8.1f s  in all\n", p.now().Sub(p.began).Seconds())
}

// fail ends the run: what helps to understand comes first, so that what went
// wrong and what to do stay in sight.
func (p *progress) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var f *failure
	if errors.As(err, &f) && f.detail != "" {
		_, _ = fmt.Fprintf(p.out, "\n%s\n", strings.TrimSpace(f.detail))
	}
	_, _ = fmt.Fprintf(p.out, "\nFAILED: %s\n%v\n", p.title, err)
	if f != nil && f.next != "" {
		_, _ = fmt.Fprintf(p.out, "\nWhat to do: %s\n", f.next)
	}
}

func clock(d time.Duration) string {
	seconds := int(d.Seconds())
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}
