package imagebuild

import (
	"fmt"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

// A ScriptError says where and how a script failed. It is in the chain of a fault of kind
// [fault.ScriptFailed].
type ScriptError struct {
	Line     int    // of the script, from 1 on; 0: its interpreter does not say
	Command  string // what that line ran, as it stands in the script; may be ""
	ExitCode int    // 128 and the signal's number for one that a signal ended
	Tail     string // the end of the output
	Inside   string // where in the line it was: "tools.sh:3: false" of a file that the line reads, "line 12" that called a function; mostly ""
}

// Error implements error.
func (e *ScriptError) Error() string {
	var b strings.Builder
	b.WriteString("script: ")
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Command != "" {
		b.WriteString(e.Command + ": ")
	}
	if e.Inside != "" {
		b.WriteString(e.Inside + ": ")
	}
	fmt.Fprintf(&b, "exit code %d", e.ExitCode)
	return b.String()
}

// fault makes the fault; the script's exit code is the program's.
func (e *ScriptError) fault() *fault.Error {
	return fault.New(fault.ScriptFailed, "%w", e).WithExit(max(1, min(e.ExitCode, 255)))
}
