package progress

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A clock goes on only when it is told to.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time              { return c.now }
func (c *clock) pass(d time.Duration) *clock { c.now = c.now.Add(d); return c }

// story is what a run tells, as every listener hears it.
func story(r Reporter, c *clock) {
	r.Phase(Create, "run-abc on local")
	r.Event(Event{Event: "machine", Machine: "run-abc", Provider: "local"})
	c.pass(400 * time.Millisecond)
	r.Done("")
	r.Phase(SyncUp, "/src")
	c.pass(2 * time.Second)
	r.Progress(Amount{Files: 10, FilesTotal: 214, Bytes: 1_000_000, BytesTotal: 3_100_000})
	r.Progress(Amount{Files: 11, FilesTotal: 214, Bytes: 1_000_001, BytesTotal: 3_100_000})
	c.pass(10 * time.Second)
	r.Progress(Amount{Files: 200, FilesTotal: 214, Bytes: 3_000_000, BytesTotal: 3_100_000})
	r.Warn("cannot hold \x1b[31mnul\n")
	c.pass(time.Second)
	r.Event(Event{Event: "synced", Phase: SyncUp, Files: 214, Bytes: 3_100_000, WireBytes: 900_000, Seconds: 13})
	r.Done("214 files, 3.1 MB")
	r.Phase(Run, "")
	out := NewStream(r, "stdout")
	for _, s := range []string{"plain\n", "caf\xc3", "\xa9\n", "\xff\xfe", "end\xe2\x82"} {
		if _, err := out.Write([]byte(s)); err != nil {
			panic(err) // it takes everything
		}
	}
	if err := out.Close(); err != nil {
		panic(err)
	}
	code := 3
	r.Event(Event{Event: "exit", Exit: &code})
	c.pass(time.Minute)
	r.Done("")
	r.Phase(Build, "debian")
	r.Stage("packages")
	r.Event(Fault(fault.New(fault.DiskFull, "no space left: %w", errors.New("here")).WithDetail("line\nline")))
	r.Close()
}

func TestEachListenerTellsTheStory(t *testing.T) {
	for _, tt := range []struct {
		golden string
		o      Options
	}{
		{"plain.txt", Options{}},
		{"quiet.txt", Options{Quiet: true}},
		{"events.jsonl", Options{JSON: true}},
	} {
		t.Run(tt.golden, func(t *testing.T) {
			var out, errs bytes.Buffer
			c := newClock()
			story(New(&term.IO{Out: &out, Err: &errs, Now: c.Now}, tt.o), c)
			got, other := errs.String(), out.String()
			if tt.o.JSON {
				got, other = other, got
			}
			if other != "" {
				t.Errorf("something on the other stream: %q", other)
			}
			golden(t, tt.golden, got)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}

func TestAmountSaysWhatIsKnown(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    Amount
		took time.Duration
		want string
	}{
		{"nothing", Amount{}, 3 * time.Second, "3s"},
		{"files only", Amount{Files: 3}, time.Second, "3 files"},
		{"all", Amount{Files: 3, FilesTotal: 6, Bytes: 5_000_000, BytesTotal: 20_000_000}, 2 * time.Second, "3/6 files, 5.0 MB of 20.0 MB, 2.5 MB/s, 6s left"},
		{"too early for a rate", Amount{Bytes: 5, BytesTotal: 10}, 100 * time.Millisecond, "5 B of 10 B"},
		{"nearly done", Amount{Bytes: 999, BytesTotal: 1000}, time.Second, "999 B of 1.0 kB, 999 B/s, 1s left"},
		{"done", Amount{Bytes: 1000, BytesTotal: 1000}, time.Second, "1.0 kB of 1.0 kB, 1.0 kB/s"},
	} {
		start := newClock().now
		if got := amount(tt.a, start, start.Add(tt.took)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 3_140_000: "3.1 MB", 1 << 62: "4.6 EB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

// A line never is wider than the window and never holds a control character.
func TestLineFits(t *testing.T) {
	l := &line{size: func() (term.Size, bool) { return term.Size{Columns: 20}, true }}
	for in, want := range map[string]string{
		"short":                       "short",
		"exactly nineteen ch":         "exactly nineteen ch",
		"more than twenty characters": "more than twenty c…",
		"tab\tand\x1b[2Jesc":          `tab\tand\x1b[2Jesc`,
		strings.Repeat("ü", 30):       strings.Repeat("ü", 18) + "…",
	} {
		if got := l.fit(in); got != want {
			t.Errorf("fit(%q) = %q, want %q", in, got, want)
		}
	}
}
