package main

import (
	"fmt"
	"os"
	"strings"
)

// readSkips reads the names of tests that may be skipped anywhere: one a line,
// each followed by the reason. A name without a reason is refused, so that the
// file stays a list of decisions.
func readSkips(file string) (map[string]bool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s:%d: %s has no reason beside it", file, i+1, name)
		}
		names[name] = true
	}
	return names, nil
}
