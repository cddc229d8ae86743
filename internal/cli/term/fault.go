package term

import (
	"errors"
	"fmt"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
)

// PrintError shows err as every command does:
//
//	outrigger: machine mac-7: host key is SHA256:Qz1…, but SHA256:9fA… was pinned
//	    further lines, such as the end of a console
//	  What the reader can do.      (docs/faults.md#hostkey)
//
// Several errors, joined by errors.Join, are shown one after the other.
func (t *IO) PrintError(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && err.Error() == errors.Join(joined.Unwrap()...).Error() {
		for _, e := range joined.Unwrap() {
			t.PrintError(e)
		}
		return
	}
	red, dim, off := "", "", ""
	if t.Colour(t.Err) {
		red, dim, off = "\x1b[31m", "\x1b[2m", "\x1b[0m"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%soutrigger:%s %s\n", red, off, oneLine(err.Error()))
	var f *fault.Error
	if errors.As(err, &f) && f.Detail != "" {
		for line := range strings.SplitSeq(strings.TrimRight(sanitize.Text(f.Detail, maxDetail), "\n"), "\n") {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	if remedy := fault.Remedy(err); remedy != "" {
		fmt.Fprintf(&b, "  %s      %s(docs/faults.md#%s)%s\n", oneLine(remedy), dim, section(err), off)
	}
	// There is nobody left to tell when standard error is closed; the exit code speaks.
	_, _ = t.Err.Write([]byte(b.String()))
}

// section is where the documentation has err's kind.
func section(err error) string { return strings.ToLower(string(fault.Lookup(fault.Of(err)).Kind)) }

// How much is shown of what may be somebody else's words.
const (
	maxLine   = 16 << 10
	maxDetail = 256 << 10
)

// oneLine keeps the promise that an error's text is one line, also where it
// quotes somebody who does not keep it, and that it does nothing to the terminal.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	return sanitize.Line(strings.Join(lines, "; "), maxLine)
}

// Say writes a line on standard error that is ours and may hold words of others.
func (t *IO) Say(format string, args ...any) {
	_, _ = fmt.Fprintf(t.Err, "outrigger: %s\n", oneLine(fmt.Sprintf(format, args...))) // as in PrintError
}
