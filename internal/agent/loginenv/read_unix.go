//go:build unix

package loginenv

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/agent/proc"
)

// limit is how long a profile may take; one that waits for somebody to type
// takes for ever.
const limit = 10 * time.Second

// maxOutput bounds what is kept of what the shell prints; an environment is at most 2 MiB on Linux.
const maxOutput = 4 << 20

// Read asks the user's login shell for its environment, through self, the path
// of this program, called with verb. run runs the command. When the shell does not answer,
// the environment of this process must do, and warning says so.
func Read(ctx context.Context, self, verb string, run func(*exec.Cmd) error, log *slog.Logger) (login Login, warning string) {
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	command := "exec '" + strings.ReplaceAll(self, "'", `'\''`) + "' " + verb
	tries := [][]string{{"-l", "-c"}, {"-c"}}
	if base := filepath.Base(shell); base == "csh" || base == "tcsh" {
		tries = tries[1:] // it has no -l beside -c; its rc file is read all the same
	}
	for n, flags := range tries {
		out := &bounded{max: maxOutput}
		cmd := exec.CommandContext(ctx, shell, append(flags, command)...)
		cmd.Stdout = out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal to ask at
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = 300 * time.Millisecond // what the profile put into the background may hold stdout
		if home, err := os.UserHomeDir(); err == nil {
			cmd.Dir = home
		}
		err := run(cmd)
		if login, ok := parse(out.Bytes()); ok {
			login.Limits = differing(login.Limits, proc.Limits(run))
			if n > 0 {
				warning = fmt.Sprintf("login shell %s ends before it does what it is told (does its profile end in exec or exit?), "+
					"so its profile is not in effect", shell)
			}
			return login, warning
		}
		log.Warn("login shell gave no environment", "shell", shell, "flags", flags, "error", err)
		if ctx.Err() != nil {
			return Login{Env: clean(os.Environ(), os.Environ())},
				fmt.Sprintf("login shell %s gave no environment within %s, so its profile is not in effect", shell, limit)
		}
	}
	return Login{Env: clean(os.Environ(), os.Environ())}, fmt.Sprintf("login shell %s gave no environment, so its profile is not in effect", shell)
}

// A bounded buffer drops what is above max.
type bounded struct {
	bytes.Buffer
	max int
}

// Write keeps what fits and takes the rest too, so that the shell is not stopped.
func (b *bounded) Write(p []byte) (int, error) {
	if room := b.max - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
