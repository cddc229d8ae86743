package home

import (
	"context"
	"os"
	"os/user"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/agent/disk"
)

// segments returns System V's shared memory, queues and semaphores of this user, which outlive all processes: lines
// "m ID KEY MODE OWNER GROUP" of ipcs(1). Root's are the system's own.
func segments() (all []string) {
	me, err := user.Current()
	if err != nil || os.Geteuid() == 0 {
		return nil
	}
	cmd, stop := tool(context.Background(), "ipcs")
	defer stop()
	if cmd == nil {
		return nil
	}
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 4 && slices.Contains([]string{"m", "q", "s"}, f[0]) && f[4] == me.Username {
			all = append(all, f[0]+" "+f[1])
		}
	}
	return all
}

// removeSegments removes those that were not there.
func removeSegments(was []string) (left []disk.Left) {
	for _, s := range segments() {
		if slices.Contains(was, s) {
			continue
		}
		kind, id, _ := strings.Cut(s, " ")
		cmd, stop := tool(context.Background(), "ipcrm", "-"+kind, id)
		if cmd != nil {
			if err := cmd.Run(); err != nil {
				left = append(left, disk.Left{Path: "System V " + s, Why: err.Error()})
			}
		}
		stop()
	}
	return left
}
