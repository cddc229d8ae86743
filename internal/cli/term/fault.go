package term

import (
	"errors"
	"fmt"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
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
		for line := range strings.Lines(strings.TrimRight(f.Detail, "\n") + "\n") {
			fmt.Fprintf(&b, "    %s\n", visible(strings.TrimRight(line, "\r\n")))
		}
	}
	if remedy := fault.Remedy(err); remedy != "" {
		fmt.Fprintf(&b, "  %s      %s(docs/faults.md#%s)%s\n", remedy, dim, strings.ToLower(string(fault.Of(err))), off)
	}
	// There is nobody left to tell when standard error is closed; the exit code speaks.
	_, _ = t.Err.Write([]byte(b.String()))
}

// oneLine keeps the promise that an error's text is one line, also where it
// quotes somebody who does not keep it.
func oneLine(s string) string {
	return visible(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}

// visible replaces control characters: a console's tail must not move the
// cursor of the terminal that it is shown on.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
