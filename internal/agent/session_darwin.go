package agent

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// session asks launchd which of its domains we are in; only in Aqua is there
// a window server, which simulators and codesign need.
func session(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "launchctl", "managername").Output()
	if err != nil {
		return "background" // it answers in every session that has more
	}
	return strings.ToLower(strings.TrimSpace(string(out)))
}
