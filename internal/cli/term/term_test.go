package term_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/fault"
)

func TestPrintErrorIsForAPerson(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"a fault with the table's remedy", fault.New(fault.UnknownImage, `image "x": not found`),
			"outrigger: image \"x\": not found\n" +
				"  List the images with: outrigger image list      (docs/faults.md#unknownimage)\n"},
		{"a detail and a remedy of its own", fault.New(fault.BootTimeout, "machine m: no answer").WithDetail("line 1\r\nline \x1b[2J2\n").WithRemedy("Look."),
			"outrigger: machine m: no answer\n    line 1\n    line \\x1b[2J2\n  Look.      (docs/faults.md#boottimeout)\n"},
		{"nothing to be done", fault.New(fault.Interrupted, "stopped"), "outrigger: stopped\n"},
		{"an error that is no line", errors.New("one\ntwo\x07"),
			"outrigger: one; two\\x07\n  This is a mistake in Outrigger: please report it.      (docs/faults.md#internal)\n"},
		{"somebody else's words", fault.New("x)\x1b]0;t\a", "t \u009b2J\u202etxt\xff").WithDetail("d\u2066\u200b\td").WithRemedy("Run\x1b[8m\nthis."),
			`outrigger: t \u009b2J\u202etxt\xff` + "\n" + `    d\u2066\u200b` + "\td\n" + `  Run\x1b[8m; this.      (docs/faults.md#internal)` + "\n"},
		{"several at once", errors.Join(fault.New(fault.Interrupted, "one"), nil, errors.Join(fault.New(fault.Interrupted, "two"))),
			"outrigger: one\noutrigger: two\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var errs bytes.Buffer
			(&term.IO{Err: &errs}).PrintError(tt.err)
			if diff := cmp.Diff(tt.want, errs.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSayIsOneCleanLine(t *testing.T) {
	var errs bytes.Buffer
	(&term.IO{Err: &errs}).Say("waits: %s", "pool\n\x1b[1A gone")
	if got, want := errs.String(), "outrigger: waits: pool; "+`\x1b[1A gone`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGetenvTakesTheLast(t *testing.T) {
	io := &term.IO{Environ: []string{"A=1", "B=x=y", "A=2", "broken"}}
	for key, want := range map[string]string{"A": "2", "B": "x=y", "C": "", "broken": ""} {
		if got := io.Getenv(key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

func TestABufferIsNoTerminal(t *testing.T) {
	var b bytes.Buffer
	io := &term.IO{In: &b, Out: &b, Err: &b}
	if io.InIsTerminal() || io.OutIsTerminal() || io.ErrIsTerminal() || io.Colour(io.Out) {
		t.Error("a buffer was taken for a terminal")
	}
	if _, ok := io.Size(); ok {
		t.Error("a buffer has a size")
	}
	if _, err := io.Raw(); !errors.Is(err, term.ErrNoTerminal) {
		t.Errorf("Raw: %v, want ErrNoTerminal", err)
	}
}
