//go:build unix

package proc

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"outrigger.dev/outrigger/internal/fault"
)

// resources are those that a shell's ulimit sets everywhere.
var resources = []int{unix.RLIMIT_CPU, unix.RLIMIT_FSIZE, unix.RLIMIT_DATA, unix.RLIMIT_STACK, unix.RLIMIT_CORE, unix.RLIMIT_NOFILE}

// Limits returns those of this process as its children get them. run runs a command.
func Limits(run func(*exec.Cmd) error) []Limit {
	var all []Limit
	for _, r := range resources {
		var l unix.Rlimit
		if unix.Getrlimit(r, &l) != nil {
			continue
		}
		soft := uint64(l.Cur)
		if r == unix.RLIMIT_NOFILE {
			// Go raises its own, and gives children what it found; so a child is asked.
			var out strings.Builder
			cmd := exec.Command("/bin/sh", "-c", "ulimit -S -n") //nolint:noctx // a shell's own word, which waits for nothing
			cmd.Stdout = &out
			err := run(cmd)
			if n, perr := strconv.ParseUint(strings.TrimSpace(out.String()), 10, 64); err == nil && perr == nil {
				soft = n
			}
		}
		all = append(all, Limit{r, soft, uint64(l.Max)})
	}
	return all
}

// ExecLimited becomes the program that args name behind the limits to be set: path, then its arguments.
func ExecLimited(args []string) error {
	if len(args) < 3 {
		return fault.New(fault.Usage, "%s: want limits, a program and its arguments", LimitsVerb)
	}
	for _, word := range strings.Split(args[0], ",") {
		l, ok := ParseLimit(word)
		if !ok {
			return fault.New(fault.Usage, "%s: %q is no limit", LimitsVerb, word)
		}
		r := syscall.Rlimit{Cur: l.Soft, Max: l.Hard}
		// A limit that cannot be had is left as it is, as a profile goes on after a ulimit that failed.
		_ = syscall.Setrlimit(l.Resource, &r)
	}
	err := syscall.Exec(args[1], args[2:], os.Environ())
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "command %q: %w", args[2], err)
	}
	return fault.New(fault.NotExecutable, "command %q: %w", args[2], err)
}

// Umask returns the umask of this process.
func Umask() int {
	old := syscall.Umask(0o077)
	syscall.Umask(old)
	return old
}
