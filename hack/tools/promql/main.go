// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command promql reads a JSON array of PromQL expressions from standard input, and
// writes, for each, the series that it selects and the labels that it names:
//
//	[{"selectors": [{"metric": "up", "labels": ["job"]}], "labels": ["instance"]}]
//
// An expression that Prometheus would refuse ends it with the parser's error.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

type selector struct {
	Metric string   `json:"metric"`
	Labels []string `json:"labels"`
}

type expression struct {
	Selectors []selector `json:"selectors"`
	// Labels are those that aggregations and matches are by.
	Labels []string `json:"labels"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "promql:", err)
		os.Exit(1)
	}
}

func run() error {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		return err
	}
	expressions := make([]expression, 0, len(texts))
	p := parser.NewParser(parser.Options{})
	for _, text := range texts {
		tree, err := p.ParseExpr(text)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		e := expression{Selectors: []selector{}, Labels: []string{}}
		parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
			switch node := node.(type) {
			case *parser.VectorSelector:
				s := selector{Metric: node.Name, Labels: []string{}}
				for _, matcher := range node.LabelMatchers {
					if matcher.Name != labels.MetricName {
						s.Labels = append(s.Labels, matcher.Name)
					}
				}
				e.Selectors = append(e.Selectors, s)
			case *parser.AggregateExpr:
				e.Labels = append(e.Labels, node.Grouping...)
			case *parser.BinaryExpr:
				if node.VectorMatching != nil {
					e.Labels = append(append(e.Labels, node.VectorMatching.MatchingLabels...), node.VectorMatching.Include...)
				}
			}
			return nil
		})
		slices.Sort(e.Labels)
		e.Labels = slices.Compact(e.Labels)
		expressions = append(expressions, e)
	}
	return json.NewEncoder(os.Stdout).Encode(expressions)
}
