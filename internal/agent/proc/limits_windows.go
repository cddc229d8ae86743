package proc

import (
	"os/exec"

	"outrigger.dev/outrigger/internal/fault"
)

// Limits is empty: Windows has none.
func Limits(func(*exec.Cmd) error) []Limit { return nil }

// ExecLimited is for Unix.
func ExecLimited([]string) error {
	return fault.New(fault.Usage, "%s: not on Windows", LimitsVerb)
}

// Umask is 0: Windows has none.
func Umask() int { return 0 }
