//go:build unix

package home

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/proc"
)

// jobLimit bounds a program that asks a daemon.
const jobLimit = 10 * time.Second

// tool returns a program of the system, nil where it is not installed.
func tool(ctx context.Context, name string, args ...string) (cmd *exec.Cmd, stop context.CancelFunc) {
	ctx, stop = context.WithTimeout(ctx, jobLimit)
	for _, dir := range []string{"/usr/bin", "/bin"} {
		if path := filepath.Join(dir, name); executable(path) {
			cmd = exec.CommandContext(ctx, path, args...)
			cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/", "LC_ALL=C"}
			return cmd, stop
		}
	}
	return nil, stop
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// crontab returns the user's table, nil if there is none.
func crontab(ctx context.Context) []byte {
	cmd, stop := tool(ctx, "crontab", "-l")
	defer stop()
	if cmd == nil {
		return nil
	}
	out, err := cmd.Output()
	if err != nil {
		return nil // none, or none may be had
	}
	return out
}

func restoreCrontab(ctx context.Context, was []byte) []disk.Left {
	if bytes.Equal(crontab(ctx), was) {
		return nil
	}
	args := []string{"-r"}
	if was != nil {
		args = []string{"-"}
	}
	cmd, stop := tool(ctx, "crontab", args...)
	defer stop()
	if cmd == nil {
		return nil
	}
	cmd.Stdin = bytes.NewReader(was)
	if out, err := cmd.CombinedOutput(); err != nil && !bytes.Equal(crontab(ctx), was) {
		return []disk.Left{{Path: "crontab", Why: strings.TrimSpace(err.Error() + ": " + string(out))}}
	}
	return nil
}

// atJobs returns the numbers of the user's at jobs.
func atJobs(ctx context.Context) (all []string) {
	cmd, stop := tool(ctx, "atq")
	defer stop()
	if cmd == nil {
		return nil
	}
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 0 {
			all = append(all, f[0])
		}
	}
	return all
}

func removeJobs(ctx context.Context, was []string) (left []disk.Left) {
	for _, job := range atJobs(ctx) {
		if slices.Contains(was, job) {
			continue
		}
		cmd, stop := tool(ctx, "atrm", job)
		if cmd != nil {
			if err := cmd.Run(); err != nil {
				left = append(left, disk.Left{Path: "at job " + job, Why: err.Error()})
			}
		}
		stop()
	}
	return left
}

// temporary returns what of this user is in the folders for temporary files. Root's are the system's own.
func (h Home) temporary() (all []string) {
	if os.Geteuid() == 0 {
		return nil
	}
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock", "/run/screen", "/run/tmux"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // not on this system
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			info, err := os.Lstat(path)
			if err != nil {
				continue // gone
			}
			if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == os.Geteuid() {
				all = append(all, path)
			}
		}
	}
	return all
}

// tasks returns the processes with which this user's trees begin. Root's are the system's own.
func tasks() []string {
	if os.Geteuid() == 0 {
		return nil
	}
	all, err := proc.OfUser()
	if err != nil {
		return nil // then those of a tenant are not told from others
	}
	var names []string
	for _, o := range all {
		names = append(names, o.String())
	}
	return names
}

// taskRounds is how often it is looked for processes that were started meanwhile.
const taskRounds = 20

// endTasks kills those that were not there, with all that they have started: other logins too.
func endTasks(ctx context.Context, was []string) (left []disk.Left) {
	if os.Geteuid() == 0 {
		return nil
	}
	for range taskRounds {
		all, err := proc.OfUser()
		if err != nil {
			return []disk.Left{{Path: "processes", Why: err.Error()}}
		}
		all = slices.DeleteFunc(all, func(o proc.Identity) bool { return slices.Contains(was, o.String()) })
		if len(all) == 0 {
			return nil
		}
		left = nil
		for _, o := range all {
			why := "was there again each time"
			if err := proc.Kill(ctx, o); err != nil && !errors.Is(err, os.ErrProcessDone) {
				why = err.Error()
			}
			left = append(left, disk.Left{Path: "process " + o.String(), Why: why})
		}
	}
	return left
}
