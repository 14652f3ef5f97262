// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Sizes of the plot, in pixels.
const (
	plotWidth  = 960
	plotLeft   = 330
	plotBars   = 380
	plotTop    = 70
	barHeight  = 13
	rowPadding = 14
)

// plotColors are for ours, its peers in turn, and the floor; all can be told apart
// by people who do not see red and green.
var (
	oursColor  = "#0072b2"
	floorColor = "#bbbbbb"
	peerColors = []string{"#e69f00", "#009e73", "#cc79a7", "#d55e00"}
)

// writePlot draws the report as SVG: for every row a bar for each server, as long as
// its value is beside the largest of the row.
func (r *report) writePlot(w io.Writer) error {
	servers := serversOf(r.Rows)
	colors := map[string]string{oursName: oursColor, floorName: floorColor}
	for _, server := range servers {
		if colors[server] == "" {
			colors[server] = peerColors[(len(colors)-2)%len(peerColors)]
		}
	}
	rowHeight := len(servers)*barHeight + rowPadding
	height := plotTop + len(r.Rows)*rowHeight + rowPadding
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	text(&b, 10, 20, "start", r.Date.Format("2006-01-02")+", "+r.Commit+": "+r.Machine.String())
	for i, server := range servers {
		x := plotLeft + i*130
		fmt.Fprintf(&b, `<rect x="%d" y="34" width="10" height="10" fill="%s"/>`+"\n", x, colors[server])
		text(&b, x+14, 43, "start", server)
	}
	text(&b, plotLeft+plotBars+150, 43, "start", "p99 of an operation")
	for i, row := range r.Rows {
		y := plotTop + i*rowHeight
		drawRow(&b, row, servers, colors, y)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func drawRow(b *strings.Builder, row result, servers []string, colors map[string]string, y int) {
	title := row.Title
	if row.Unit.lessIsBetter() {
		title += " (less is better)"
	}
	text(b, plotLeft-10, y+barHeight-3, "end", title)
	most := 0.0
	for _, m := range row.Servers {
		most = max(most, m.Value)
	}
	for i, server := range servers {
		top := y + i*barHeight
		label, width := "–", 0
		m := row.Servers[server]
		switch {
		case m == nil || m.NotSupported:
		case m.Failure != "":
			label = "failed"
		case most > 0:
			width = int(m.Value / most * plotBars)
			label = format(m.Value) + " " + string(row.Unit)
			if m.P99 > 0 {
				text(b, plotLeft+plotBars+150, top+barHeight-3, "start", format(m.P99)+" ms")
			}
		}
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", plotLeft, top, max(width, 1), barHeight-2, colors[server])
		text(b, plotLeft+width+5, top+barHeight-3, "start", label)
	}
}

func text(b *strings.Builder, x, y int, anchor, content string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s">`, x, y, anchor)
	_ = xml.EscapeText(b, []byte(content)) // a strings.Builder does not fail
	b.WriteString("</text>\n")
}
