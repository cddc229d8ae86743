package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
)

// An event is one line of `go test -json`, see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail, instead of Package
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// A state is what is known of one test that began.
type state struct {
	output   []string
	children bool // it has subtests
	failed   bool // one of its subtests failed
	ended    bool
}

type summary struct {
	out     io.Writer
	passed  int
	failed  int
	skipped int
	tests   map[string]map[string]*state // package, test; the package itself is test ""
	builds  map[string][]string          // compiler output by import path
	skips   []skip
}

type skip struct {
	pkg, test string
	reason    string
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, tests: map[string]map[string]*state{}, builds: map[string][]string{}}
}

// line is the last line of all.
func (s *summary) line() string {
	l := fmt.Sprintf("%d passed, %d failed", s.passed, s.failed)
	if s.skipped > 0 {
		l += fmt.Sprintf(", %d skipped", s.skipped)
	}
	return l
}

// read takes events until r ends. What is no event (go vet and the go command
// print plain lines between them) is shown as it is.
func (s *summary) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if line[0] == '{' && json.Unmarshal(line, &e) == nil && e.Action != "" {
				s.take(e)
			} else {
				_, _ = s.out.Write(line)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) take(e event) {
	switch e.Action {
	case "build-output":
		s.builds[e.ImportPath] = append(s.builds[e.ImportPath], e.Output)
	case "run":
		s.at(e.Package, e.Test)
		for p := parent(e.Test); p != ""; p = parent(p) {
			s.at(e.Package, p).children = true
		}
	case "output":
		st := s.at(e.Package, e.Test)
		st.output = append(st.output, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			s.endTest(e)
		}
	}
}

func (s *summary) at(pkg, test string) *state {
	if s.tests[pkg] == nil {
		s.tests[pkg] = map[string]*state{}
	}
	st := s.tests[pkg][test]
	if st == nil {
		st = &state{}
		s.tests[pkg][test] = st
	}
	return st
}

func parent(test string) string {
	i := strings.LastIndexByte(test, '/')
	return test[:max(i, 0)]
}

func (s *summary) endTest(e event) {
	st := s.at(e.Package, e.Test)
	st.ended = true
	switch {
	case e.Action == "fail":
		for p := parent(e.Test); p != ""; p = parent(p) {
			s.at(e.Package, p).failed = true
		}
		s.at(e.Package, "").failed = true
		if st.failed { // a subtest was counted and shown already; what the parent said itself counts too
			if own := said(st.output); len(own) > 0 {
				s.show(e.Package, e.Test, own)
			}
			break
		}
		s.failed++
		s.show(e.Package, e.Test, said(st.output))
	case st.children: // its subtests were counted
	case e.Action == "skip":
		s.skipped++
		s.skips = append(s.skips, skip{e.Package, e.Test, skipReason(st.output)})
	default:
		s.passed++
	}
	st.output = nil
}

func (s *summary) endPackage(e event) {
	p := s.at(e.Package, "")
	defer delete(s.tests, e.Package)
	if e.Action != "fail" {
		if e.Action == "pass" {
			fmt.Fprintf(s.out, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
		}
		return
	}
	for _, name := range sortedKeys(s.tests[e.Package]) {
		// A test that began and has no end was running when the process died.
		if st := s.tests[e.Package][name]; name != "" && !st.ended && !st.children {
			s.failed++
			p.failed = true
			s.show(e.Package, name, said(st.output))
		}
	}
	if !p.failed {
		s.failed++
	}
	fmt.Fprintf(s.out, "FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
	lines := slices.Concat(s.builds[e.FailedBuild], p.output)
	fmt.Fprint(s.out, indent(lines))
}

func (s *summary) show(pkg, test string, output []string) {
	fmt.Fprintf(s.out, "FAIL  %s %s\n%s", pkg, test, indent(output))
}

// said leaves out the frames that the test runner puts around a test's output.
func said(output []string) []string {
	return slices.DeleteFunc(slices.Clone(output), func(l string) bool {
		l = strings.TrimSpace(l)
		return strings.HasPrefix(l, "=== ") || strings.HasPrefix(l, "--- ")
	})
}

// refuseSkips turns each skip that allowed does not name into a failure.
func (s *summary) refuseSkips(allowed map[string]bool) {
	kept := s.skips[:0]
	for _, k := range s.skips {
		if allowed[k.test] {
			kept = append(kept, k)
			continue
		}
		s.skipped--
		s.failed++
		fmt.Fprintf(s.out, "FAIL  %s %s\n    skipped, where nothing may be missing: %s\n", k.pkg, k.test, k.reason)
	}
	s.skips = kept
}

func (s *summary) printSkips() {
	for _, k := range s.skips {
		fmt.Fprintf(s.out, "skip  %s %s: %s\n", k.pkg, k.test, k.reason)
	}
}

// skipReason finds what t.Skip said: the last line that is not a frame of the runner.
func skipReason(output []string) string {
	for _, l := range slices.Backward(said(output)) {
		if l = strings.TrimSpace(l); l == "" {
			continue
		}
		if _, text, ok := strings.Cut(l, ".go:"); ok {
			if _, text, ok = strings.Cut(text, ": "); ok {
				return text
			}
		}
		return l
	}
	return "no reason given"
}

func indent(lines []string) string {
	text := strings.TrimRight(strings.Join(lines, ""), "\n")
	if text == "" {
		return ""
	}
	return "    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
}

func sortedKeys(m map[string]*state) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
