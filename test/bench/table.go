package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// phases are the columns of a sync, in their order.
var phases = []struct{ key, title string }{
	{"first", "first copy"}, {"same", "nothing changed"}, {"changed", "1 % changed"}, {"back", "build output back"},
}

func (b *bench) header() string {
	return fmt.Sprintf("%s, %s/%s, %d processors, load average %s before it began; data sets at %g of their size, medians of %d, seconds of wall time.\n",
		time.Now().UTC().Format("2006-01-02"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load(), b.scale, b.n)
}

// load tells how busy the computer is, since nobody else's numbers mean anything without it.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	now, _, _ := strings.Cut(string(text), " ")
	return now
}

// median returns the middle of what was measured.
func median(times []seconds) (seconds, bool) {
	if len(times) == 0 {
		return seconds{}, false
	}
	sorted := slices.Clone(times)
	slices.SortFunc(sorted, func(a, b seconds) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return 0
	})
	return sorted[len(sorted)/2], true
}

// cell shows a time and how it compares with the base's: ×2 is twice as long.
func cell(r, base row, key string) string {
	t, ok := median(r.times[key])
	if !ok {
		return "–"
	}
	text := fmt.Sprintf("%.2f", t.value)
	if t.over {
		return fmt.Sprintf("> %.0f", t.value)
	}
	if ours, ok := median(base.times[key]); ok && r.tool != base.tool && ours.value > 0 {
		text += fmt.Sprintf(" (×%.1f)", t.value/ours.value)
	}
	return text
}

func syncTable(set string, sz size, l line, rows []row) string {
	var t strings.Builder
	fmt.Fprintf(&t, "\n**Set %s** (%s), %s\n\n| |", set, sz, l.name)
	for _, p := range phases {
		fmt.Fprintf(&t, " %s |", p.title)
	}
	t.WriteString("\n|-|" + strings.Repeat("-|", len(phases)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&t, "| %s |", title(r))
		for _, p := range phases {
			fmt.Fprintf(&t, " %s |", cell(r, rows[0], p.key))
		}
		t.WriteString("\n")
		if _, ok := median(r.times["first alone"]); !ok {
			continue
		}
		t.WriteString("| … of it the sync alone |")
		for _, p := range phases {
			fmt.Fprintf(&t, " %s |", cell(r, r, p.key+" alone"))
		}
		t.WriteString("\n")
	}
	return t.String()
}

func title(r row) string {
	if r.tool == "outrigger" {
		return "**`outrigger run`**, whole"
	}
	return r.tool
}

func startupTable(l line, rows []row) string {
	var t strings.Builder
	fmt.Fprintf(&t, "\n**Start-up**, %s\n\n| | milliseconds |\n|-|-|\n", l.name)
	for _, r := range rows {
		m, _ := median(r.times["start"])
		base, _ := median(rows[0].times["start"])
		text := fmt.Sprintf("%.0f", m.value*1000)
		if r.tool != rows[0].tool {
			text += fmt.Sprintf(" (×%.2f)", m.value/base.value)
		}
		fmt.Fprintf(&t, "| %s | %s |\n", r.tool, text)
	}
	return t.String()
}
