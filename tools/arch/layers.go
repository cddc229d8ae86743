package arch

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Layers is layers.txt.
type Layers struct {
	rules []layerRule
	allow map[[2]string]bool
}

type layerRule struct {
	layer   int
	pattern string // without "/..."
	family  bool
}

// ReadLayers reads layers.txt.
func ReadLayers(file string) (*Layers, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	l := &Layers{allow: map[[2]string]bool{}}
	for i, line := range strings.Split(string(b), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "allow" && len(words) == 4 && words[2] == "->":
			l.allow[[2]string{words[1], words[3]}] = true
		default:
			n, err := strconv.Atoi(words[0])
			if err != nil {
				return nil, fmt.Errorf("%s:%d: want LAYER PACKAGE... or allow A -> B, got %q", file, i+1, line)
			}
			for _, w := range words[1:] {
				pattern, family := strings.CutSuffix(w, "/...")
				l.rules = append(l.rules, layerRule{n, pattern, family})
			}
		}
	}
	return l, nil
}

// of finds the rule of a package.
func (l *Layers) of(pkg string) (layerRule, bool) {
	var best layerRule
	found := false
	for _, r := range l.rules {
		if pkg != r.pattern && (!r.family || !strings.HasPrefix(pkg, r.pattern+"/")) {
			continue
		}
		if !found || len(r.pattern) > len(best.pattern) {
			best, found = r, true
		}
	}
	return best, found
}

// Free tells whether a package is outside the layers: tests and tools.
func Free(pkg string) bool {
	return strings.HasPrefix(pkg, "test/") || strings.HasPrefix(pkg, "tools/")
}

// Judge says what is wrong with from importing to, "" if nothing is.
func (l *Layers) Judge(from, to string) string {
	if Free(from) {
		return ""
	}
	if Free(to) {
		return fmt.Sprintf("%s imports %s, which is for tests and tools", from, to)
	}
	a, ok := l.of(from)
	if !ok {
		return fmt.Sprintf("%s is in no layer: add it to layers.txt", from)
	}
	b, ok := l.of(to)
	switch {
	case !ok:
		return fmt.Sprintf("%s is in no layer: add it to layers.txt", to)
	case b.layer < a.layer, a == b && a.family, l.allow[[2]string{from, to}]:
		return ""
	}
	return fmt.Sprintf("%s (layer %d) imports %s (layer %d): imports go down only", from, a.layer, to, b.layer)
}
