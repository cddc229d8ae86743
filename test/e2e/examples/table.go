package examples

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
)

// A Verdict says what becomes of an example.
type Verdict string

// The verdicts.
const (
	Same      Verdict = "same"      // on a machine as on the node, where it succeeds
	Fails     Verdict = "fails"     // on both alike, and is meant to or cannot succeed offline
	Different Verdict = "different" // and that is a bug
	Cannot    Verdict = "cannot"    // run here
)

// A Row is what expected.txt says of one example.
type Row struct {
	Example string
	Verdict Verdict
	Why     string // of all but Same
}

// ReadTable reads the table: a line for each example, "NAME VERDICT [WHY]"; "#" begins a comment.
func ReadTable(path string) (map[string]Row, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rows := map[string]Row{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		row := Row{Example: fields[0]}
		if len(fields) > 1 {
			row.Verdict, row.Why = Verdict(fields[1]), strings.Join(fields[2:], " ")
		}
		switch {
		case row.Verdict != Same && row.Verdict != Fails && row.Verdict != Different && row.Verdict != Cannot:
			return nil, fmt.Errorf("%s:%d: %q is no verdict: want same, fails, different or cannot", path, n, row.Verdict)
		case row.Verdict != Same && row.Why == "":
			return nil, fmt.Errorf("%s:%d: %s is %s: say why", path, n, row.Example, row.Verdict)
		}
		if _, twice := rows[row.Example]; twice {
			return nil, fmt.Errorf("%s:%d: %s is there twice", path, n, row.Example)
		}
		rows[row.Example] = row
	}
	return rows, lines.Err()
}
