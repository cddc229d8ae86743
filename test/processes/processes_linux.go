// Package processes finds what tests and the programs that they try have started, by the folders that it knows of.
package processes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Process is one that was there a moment ago.
type Process struct {
	PID     int
	Command string // its arguments, with spaces between
}

// Of lists the processes of whose environment, arguments, program and working folder one lies in one of the roots.
// The calling one is not among them, nor what has ended and waits for its parent to ask. What cannot be read has ended
// or is another user's.
func Of(roots ...string) []Process {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	var found []Process
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || !knows(dir, roots) || zombie(dir) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue
		}
		found = append(found, Process{PID: pid, Command: string(bytes.TrimSpace(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))})
	}
	return found
}

func knows(dir string, roots []string) bool {
	for _, file := range []string{"environ", "cmdline"} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err == nil && within(string(b), roots) {
			return true
		}
	}
	for _, link := range []string{"cwd", "exe"} {
		if target, err := os.Readlink(filepath.Join(dir, link)); err == nil && within(target+"\x00", roots) {
			return true
		}
	}
	return false
}

// within tells whether one of the words of text, each of which ends in a zero byte, has a root in it.
func within(text string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return strings.Contains(text, root+"/") || strings.Contains(text, root+"\x00")
	})
}

// zombie tells that a process has ended and only waits for its parent to ask.
func zombie(dir string) bool {
	stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

// Kill ends a process at once, and tells whether it still was there.
func (p Process) Kill() (bool, error) {
	err := syscall.Kill(p.PID, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return false, nil
	}
	return err == nil, err
}

// None waits until there is none that counts, which the kernel may take a moment to bring about; a nil function counts all.
func None(tb testing.TB, counts func(Process) bool, roots ...string) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := Of(roots...)
		if counts != nil {
			left = slices.DeleteFunc(left, func(p Process) bool { return !counts(p) })
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			tb.Errorf("processes are left: %s", fmt.Sprint(left))
			return
		}
		<-tick.C
	}
}
