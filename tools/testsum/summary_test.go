package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLine runs the real go command over small modules, because the shape of
// its events is what could change under us.
func TestLine(t *testing.T) {
	for _, tt := range []struct{ name, tests, want, shows string }{
		{
			name: "a test with subtests counts as its subtests",
			tests: `func TestA(t *testing.T) { t.Run("one", nop); t.Run("two", nop) }
func TestB(t *testing.T) {}`,
			want: "3 passed, 0 failed",
		},
		{
			name:  "a failed subtest counts once and its output is shown",
			tests: `func TestA(t *testing.T) { t.Run("one", nop); t.Run("two", func(t *testing.T) { t.Fatal("it broke here") }) }`,
			want:  "1 passed, 1 failed",
			shows: "it broke here",
		},
		{
			name:  "a parent that fails by itself counts beside its subtests",
			tests: `func TestA(t *testing.T) { t.Run("one", nop); t.Error("only the parent") }`,
			want:  "1 passed, 1 failed",
			shows: "only the parent",
		},
		{
			name:  "a skip is neither",
			tests: `func TestA(t *testing.T) { t.Skip("no such tool here") }`,
			want:  "0 passed, 0 failed, 1 skipped",
		},
		{
			name: "a process that exits in a test fails that test",
			tests: `func TestA(t *testing.T) {}
func TestB(t *testing.T) { println("last words"); os.Exit(3) }`,
			want:  "1 passed, 1 failed",
			shows: "last words",
		},
		{
			name:  "a panic fails the test it was in",
			tests: `func TestA(t *testing.T) { panic("oh no") }`,
			want:  "0 passed, 1 failed",
			shows: "oh no",
		},
		{
			name:  "a package that does not build is one failure",
			tests: `func TestA(t *testing.T) { undefinedName() }`,
			want:  "0 passed, 1 failed",
			shows: "undefined: undefinedName",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{
				"go.mod":    "module example.test/m\n\ngo 1.26\n",
				"a_test.go": "package m\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Exit\n\nfunc nop(*testing.T) {}\n\n" + tt.tests + "\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("go", "test", "-json", "-vet=off", "./...")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
			events, err := cmd.Output()
			if len(events) == 0 {
				t.Fatal(err)
			}
			var out strings.Builder
			s := newSummary(&out)
			if err := s.read(strings.NewReader(string(events))); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.line()); diff != "" {
				t.Errorf("line (-want +got):\n%s\noutput:\n%s", diff, out.String())
			}
			if !strings.Contains(out.String(), tt.shows) {
				t.Errorf("output does not show %q:\n%s", tt.shows, out.String())
			}
		})
	}
}

// TestStrict: what may be skipped on a laptop is a failure where all is installed.
func TestStrict(t *testing.T) {
	var out strings.Builder
	s := newSummary(&out)
	s.skipped = 2
	s.skips = []skip{{"p", "TestKnown", "no KVM"}, {"p", "TestOther", "no sshd"}}
	s.refuseSkips(map[string]bool{"TestKnown": true})
	if got, want := s.line(), "0 passed, 1 failed, 1 skipped"; got != want {
		t.Errorf("line is %q, want %q", got, want)
	}
	if !strings.Contains(out.String(), "no sshd") {
		t.Errorf("the reason of the refused skip is not shown:\n%s", out.String())
	}
}

func TestReadSkipsWantsReasons(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skips.txt")
	if err := os.WriteFile(file, []byte("# comment\n\nTestA because of this\nTestB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := readSkips(file)
	if err == nil || !strings.Contains(err.Error(), "skips.txt:4: TestB has no reason") {
		t.Errorf("error is %v, want the line and the name", err)
	}
}
