package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// groupDir is where the control group of that name is; "" where control groups (version 2)
// cannot be had. A process leaves its group neither by a new session nor by
// another environment, and the group outlives whoever started it.
func groupDir(name string) string {
	if name == "" || strings.ContainsAny(name, "/.") || os.Geteuid() != 0 {
		return ""
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		if f := strings.Fields(before); ok && strings.HasPrefix(after, "cgroup2 ") && len(f) > 4 {
			return filepath.Join(f[4], "outrigger-"+name)
		}
	}
	return ""
}

// startIn starts cmd in the group; without one, or where that is not to be had, as it is. It returns
// the command that was started, since one that failed cannot be started again.
func (s *Starter) startIn(group string, cmd *exec.Cmd, u *int) (*exec.Cmd, error) {
	dir, err := openGroup(group)
	if err != nil || dir == nil {
		return cmd, s.start(cmd, u)
	}
	defer dir.Close()
	grouped := &exec.Cmd{Path: cmd.Path, Args: cmd.Args, Dir: cmd.Dir, Env: cmd.Env, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr}
	attr := *cmd.SysProcAttr
	attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	grouped.SysProcAttr = &attr
	if err := s.start(grouped, u); err == nil {
		return grouped, nil
	}
	return cmd, s.start(cmd, u) // what is wrong with the command itself is told again
}

func openGroup(name string) (*os.File, error) {
	dir := groupDir(name)
	if dir == "" {
		return nil, nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.Open(dir)
}

// KillGroup kills every process of the group and removes it. A group that is not there is no error.
func KillGroup(ctx context.Context, name string) error {
	dir := groupDir(name)
	if dir == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		left, err := killGroup(dir)
		if err == nil {
			err = removeGroup(dir)
		}
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("control group %s: %d processes live on after SIGKILL: %w", dir, left, err)
		}
	}
}

// killGroup kills what is in the group and in those below it. The kernel does that at once since Linux 5.14.
func killGroup(dir string) (left int, err error) {
	killed := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != "cgroup.procs" {
			return err
		}
		b, err := os.ReadFile(path)
		for word := range bytes.FieldsSeq(b) {
			pid, perr := strconv.Atoi(string(word))
			if perr != nil || pid <= 0 { // 0 is a process of another namespace
				continue
			}
			left++
			if !killed {
				err = errors.Join(err, ignoreGone(syscall.Kill(pid, syscall.SIGKILL)))
			}
		}
		return err
	})
	return left, err
}

// removeGroup removes the group and those below it, which must be empty.
func removeGroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return syscall.Rmdir(dir)
}
