package ignore_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/worksync/ignore"
)

func TestExcluded(t *testing.T) {
	for _, tt := range []struct {
		name     string
		patterns string
		excluded []string // a slash at the end makes a folder
		kept     []string
	}{
		{"a name matches at any depth", "*.o", []string{"a.o", "x/y/b.o"}, []string{"a.c", "o", "a.o.c"}},
		{"a slash anchors", "/build\ndoc/*.txt", []string{"build", "build/x", "doc/a.txt"}, []string{"x/build", "x/doc/a.txt", "doc/x/a.txt"}},
		{"a trailing slash means folders", "out/", []string{"out/", "x/out/", "out/a"}, []string{"out", "x/out"}},
		{"the last match decides", "*.log\n!keep.log", []string{"a.log"}, []string{"keep.log", "x/keep.log"}},
		{"nothing comes back from an excluded folder", "x/\n!x/keep", []string{"x/", "x/keep"}, []string{"keep"}},
		{"two stars span folders", "a/**/z\n**/q\nm/**", []string{"a/z", "a/b/c/z", "q", "r/q", "m/n", "m/n/o"}, []string{"z", "m/", "b/a/z"}},
		{"classes and escapes", `[a-c]?[!x]` + "\n" + `\#a` + "\n" + `\!b` + "\n" + `c\*`, []string{"bzy", "#a", "!b", "c*"}, []string{"dzy", "bzx", "cd"}},
		{"comments and blanks", "# a\n\n   \na ", []string{"a"}, []string{"# a", " "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := ignore.Parse(ignore.Lines(tt.patterns))
			if err != nil {
				t.Fatal(err)
			}
			check := func(paths []string, want bool) {
				for _, p := range paths {
					if got := m.Excluded(strings.TrimSuffix(p, "/"), strings.HasSuffix(p, "/")); got != want {
						t.Errorf("Excluded(%q) = %v, want %v", p, got, want)
					}
				}
			}
			check(tt.excluded, true)
			check(tt.kept, false)
		})
	}
}

func TestTooMuchIsRefused(t *testing.T) {
	if _, err := ignore.Parse(make([]string, ignore.MaxPatterns+1)); err == nil {
		t.Error("too many patterns: accepted")
	}
	if _, err := ignore.Parse([]string{strings.Repeat("x", ignore.MaxPattern+1)}); err == nil {
		t.Error("a pattern that is too long: accepted")
	}
}

// TestAgreesWithGit compares with git check-ignore, which reads the same
// patterns from a .gitignore in a repository where every path exists.
func TestAgreesWithGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("git is needed as the oracle")
		}
		t.Skip("git is not installed")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		dir := t.TempDir()
		git(t, dir, nil, "init", "-q")
		paths := randomPaths(t, r, dir)
		var patterns []string
		for range 1 + r.IntN(5) {
			patterns = append(patterns, randomPattern(r))
		}
		content := strings.Join(patterns, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		ignored := map[string]bool{}
		for p := range strings.SplitSeq(git(t, dir, []byte(strings.Join(paths, "\x00")+"\x00"), "check-ignore", "-z", "--stdin", "--no-index"), "\x00") {
			ignored[p] = true
		}
		m, err := ignore.Parse(ignore.Lines(content))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			fi, err := os.Stat(filepath.Join(dir, p))
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Excluded(p, fi.IsDir()); got != ignored[p] {
				t.Errorf("round %d: %q (folder: %v): we say %v, git says %v; patterns %q", round, p, fi.IsDir(), got, ignored[p], patterns)
			}
		}
	}
}

func git(t *testing.T, dir string, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.Output()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok && ee.ExitCode() == 1 {
		err = nil // check-ignore: none of the paths is ignored
	}
	if err != nil {
		t.Fatalf("git %v: %v", args, err)
	}
	return string(out)
}

var letters = []string{"a", "b", "c", "ab", "abc", "a.o", "b.c", "#a", "!b", "a b", "-", "]", "x*"}

func randomPaths(t *testing.T, r *rand.Rand, dir string) []string {
	var all []string
	var grow func(at string, depth int)
	grow = func(at string, depth int) {
		for range 4 {
			p := filepath.Join(at, letters[r.IntN(len(letters))])
			if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
				continue
			}
			var err error
			if depth < 3 && r.IntN(2) == 0 {
				err = os.Mkdir(filepath.Join(dir, p), 0o777)
				grow(p, depth+1)
			} else {
				err = os.WriteFile(filepath.Join(dir, p), nil, 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
	}
	grow("", 0)
	return all
}

func randomPattern(r *rand.Rand) string {
	pieces := []string{
		"a", "b", "c", "ab", ".", ".o", "*", "*", "?", "/", "/", "**", "**/", "/**", "[ab]", "[!a]", "[^b-c]", "[]a]", "[a-", "[[:alpha:]]", "[[:foo:]]", "[[:a]",
		`\a`, `\*`, `\`, "#", "!", " ", `\ `, "-", "]", `[\]]`, `[a\-c]`, "***",
	}
	var b strings.Builder
	if r.IntN(4) == 0 {
		b.WriteString("!")
	}
	for range 1 + r.IntN(5) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	if r.IntN(5) == 0 {
		b.WriteString("/")
	}
	return b.String()
}

// FuzzMatch holds that no pattern, which may come from the other side, takes
// more looks than it may or panics, and that the answer is that of the definition.
func FuzzMatch(f *testing.F) {
	f.Add("**/a*[!b]\\", "x/y/a")
	f.Add("*a*a*a*a*a*a*a*b", strings.Repeat("a", 60))
	f.Add(strings.Repeat("**/", 20)+"b", strings.Repeat("a/", 30))
	f.Add("a/**\\/?*[[:alpha:]/]b", "a/x/y/zzb")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if len(pattern) > 64 || len(path) > 64 {
			return // longer ones hold nothing new, and the definition takes its time
		}
		m, err := ignore.Parse([]string{pattern})
		if err != nil {
			t.Fatal(err)
		}
		m.Excluded(path, false)
		looks, got := ignore.Looks(pattern, path)
		if want := (&definition{known: map[[3]int]bool{}}).match(pattern, path, true); got != want {
			t.Errorf("match(%q, %q) = %v, want %v", pattern, path, got, want)
		}
		if looks > maxLooks(pattern, path) {
			t.Errorf("match(%q, %q) looks %d times at bytes of the pattern", pattern, path, looks)
		}
	})
}

// definition says what a pattern means: for each star it tries everything.
type definition struct {
	known map[[3]int]bool // by what is left of both, and start
}

func (d *definition) match(p, t string, start bool) bool {
	key := [3]int{len(p), len(t), 0}
	if start {
		key[2] = 1
	}
	is, ok := d.known[key]
	if !ok {
		is = d.decide(p, t, start)
		d.known[key] = is
	}
	return is
}

func (d *definition) decide(p, t string, start bool) bool {
	switch {
	case p == "":
		return t == ""
	case p[0] == '*':
		rest := strings.TrimLeft(p, "*")
		spans := len(p)-len(rest) >= 2 && start && (rest == "" || rest[0] == '/' || strings.HasPrefix(rest, `\/`))
		if spans && rest != "" && rest[0] == '/' && d.match(rest[1:], t, true) || spans && rest == "" {
			return true
		}
		for i := 0; ; i++ {
			if d.match(rest, t[i:], false) {
				return true
			}
			if i == len(t) || !spans && t[i] == '/' {
				return false
			}
		}
	case t == "":
		return false
	case p[0] == '?':
		return t[0] != '/' && d.match(p[1:], t[1:], false)
	case p[0] == '[':
		rest, ok := ignore.MatchClass(p, t[0])
		return ok && t[0] != '/' && d.match(rest, t[1:], false)
	case p[0] == '\\':
		return len(p) > 1 && p[1] == t[0] && d.match(p[2:], t[1:], t[0] == '/')
	}
	return p[0] == t[0] && d.match(p[1:], t[1:], t[0] == '/')
}

// TestAgreesWithItsDefinition tries what a fuzzer takes long to come to.
func TestAgreesWithItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"*", "*", "**", "**/", "/**", "**/**", `**\/`, "?", "a", "b", "/", "[ab]", `\/`, "a/", "*/"}
	texts := []string{"a", "b", "a", "/", "/", "ab"}
	word := func(from []string, n int) string {
		var b strings.Builder
		for range r.IntN(n) {
			b.WriteString(from[r.IntN(len(from))])
		}
		return b.String()
	}
	for range 200_000 {
		pattern, text := word(pieces, 8), word(texts, 10)
		d := definition{known: map[[3]int]bool{}}
		looks, got := ignore.Looks(pattern, text)
		if want := d.match(pattern, text, true); got != want {
			t.Fatalf("match(%q, %q) = %v, want %v", pattern, text, got, want)
		}
		if looks > maxLooks(pattern, text) {
			t.Fatalf("match(%q, %q) looks %d times at bytes of the pattern", pattern, text, looks)
		}
	}
}

// maxLooks bounds how often a match may look at a byte of the pattern: by the product of the lengths.
func maxLooks(pattern, path string) int { return 3 * (len(pattern) + 1) * (len(path) + 1) }

// TestNoPatternTakesLong holds the worst patterns that may be sent against the
// longest paths there are.
func TestNoPatternTakesLong(t *testing.T) {
	long := strings.Repeat("a", 4095)
	deep := strings.Repeat("a/", 2047) + "a"
	for _, tt := range []struct{ pattern, path string }{
		{strings.Repeat("*a", 2000) + "b", long},
		{strings.Repeat("*", 4000) + "b", long},
		{strings.Repeat("**/", 1300) + "b", deep},
		{strings.Repeat("**/*a", 800) + "b", deep},
		{strings.Repeat("*[a-z]", 600) + "b", long},
		{"*[" + strings.Repeat("a", 4000), long}, // a class without its end
		{strings.Repeat("*["+strings.Repeat("b", 60)+"a]", 64) + "b", long},
		{"**/" + strings.Repeat("*a*", 1000) + "b", deep},
		{"**/" + strings.Repeat("*/", 2000) + "b", deep},
		{strings.Repeat("**/*a/", 600) + "b", strings.Repeat(strings.Repeat("a", 63)+"/", 63) + "a"},
	} {
		looks, matches := ignore.Looks(tt.pattern, tt.path)
		if matches {
			t.Errorf("%.20q matches", tt.pattern)
		}
		if limit := maxLooks(tt.pattern, tt.path); looks > limit {
			t.Errorf("%.20q looks %d times at bytes of the pattern, want at most %d", tt.pattern, looks, limit)
		}
	}
}
