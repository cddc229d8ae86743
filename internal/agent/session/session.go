// Package session tells which kind of session a process belongs to. It matters
// on macOS, where only one of them has a window server.
package session

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Launchctl is how macOS's launchd is spoken to. No other system has it.
const Launchctl = "/bin/launchctl"

// askLimit bounds a question to launchd, which answers in milliseconds.
const askLimit = 5 * time.Second

// Kind asks launchd which of its domains we are in: "aqua" has a window server,
// which simulators and codesign need, "background" (a login by SSH) has none. Other systems:
// "ssh" or "console".
func Kind(ctx context.Context) string {
	if _, err := os.Stat(Launchctl); err != nil {
		if os.Getenv("SSH_CONNECTION") != "" {
			return "ssh"
		}
		return "console"
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, Launchctl, "managername").Output()
	if err != nil {
		return "background" // it answers in every session that has more
	}
	return strings.ToLower(strings.TrimSpace(string(out)))
}
