// Package table prints lists: columns for people, JSON for scripts.
package table

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"outrigger.dev/outrigger/internal/sanitize"
)

// A Table is a list with a heading per column.
type Table struct {
	Columns []string
	Rows    [][]string
}

// gap separates columns, as kubectl has it.
const gap = 3

// maxCell bounds what others call their things.
const maxCell = 1 << 10

// Add appends a row; a value that is "" is shown as "-", so that every row can
// be cut at blanks.
func (t *Table) Add(values ...string) {
	for i, v := range values {
		values[i] = sanitize.Line(v, maxCell)
		if v == "" {
			values[i] = "-"
		}
	}
	t.Rows = append(t.Rows, values)
}

// Write prints the headings and the rows. Without a row it prints nothing.
func (t *Table) Write(w io.Writer) error {
	if len(t.Rows) == 0 {
		return nil
	}
	widths := make([]int, len(t.Columns))
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		for i, v := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(v))
		}
	}
	var b strings.Builder
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		for i, v := range row {
			if i == len(row)-1 {
				b.WriteString(v)
				break
			}
			b.WriteString(v + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(v)+gap))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON prints items as one indented array, "[]" when there are none.
func JSON[T any](w io.Writer, items []T) error {
	if items == nil {
		items = []T{}
	}
	return Value(w, items)
}

// Value prints v as indented JSON. Values are what they are, but what does not
// print is escaped.
func Value(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(sanitize.JSON(b.Bytes()))
	return err
}

// Age is how long ago then was, "" for never: "5s", "3m", "2h", "4d".
func Age(then, now time.Time) string {
	if then.IsZero() {
		return ""
	}
	return short(now.Sub(then))
}

// Until is how long it still is to then, "" for never: "5m", "past".
func Until(then, now time.Time) string {
	switch {
	case then.IsZero():
		return ""
	case !then.After(now):
		return "past"
	}
	return short(then.Sub(now))
}

func short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
