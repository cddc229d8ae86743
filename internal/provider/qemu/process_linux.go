package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// unsupported is nil where the provider can run.
func unsupported() error { return nil }

// holders returns the QEMU processes that have path open, as handles that
// cannot come to mean another process. This process and others of Outrigger,
// which open the file to ask for its lock, are not among them.
func holders(path string) ([]*os.Process, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []*os.Process
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || !holds(pid, path) {
			continue
		}
		// The handle first, then the look: what is true now is true of the handle.
		p, err := os.FindProcess(pid)
		if err == nil && holds(pid, path) {
			found = append(found, p)
		}
	}
	return found, nil
}

// holds tells whether a process was started with our mark for path and has it
// open. Processes that end meanwhile, or are another user's, are not ours.
func holds(pid int, path string) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.Contains(args, []byte("\x00"+markOf(path)+"\x00")) {
		return false
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && to == path {
			return true
		}
	}
	return false
}

// processorTime returns how long the QEMU that holds path has computed.
func processorTime(path string) (time.Duration, error) {
	all, err := holders(path)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, p := range all {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
		if err := errors.Join(err, p.Release()); err != nil {
			return 0, err
		}
		sum += ticks(stat)
	}
	return sum, nil
}

// ticks adds the times in proc_pid_stat(5), fields 14 and 15. Field 2 is the
// program's name in parentheses and may hold anything. A tick is 10 ms.
func ticks(stat []byte) time.Duration {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var sum time.Duration
	for _, i := range []int{14 - 3, 15 - 3} {
		if i < len(fields) {
			n, _ := strconv.ParseInt(string(fields[i]), 10, 64) // the kernel writes numbers
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// detached makes a child the head of its own session.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// apart makes a child the head of a process group, so that it can be ended with
// all that it started, and gives root's its own view of what is mounted where.
// What it mounts is gone when it is, however it ends: whoever removes its folder
// then does not remove what was mounted there. Others than root cannot mount
// anything that we would see.
func apart() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		attr.Unshareflags = syscall.CLONE_NEWNS
	}
	return attr
}

// signalGroup signals a child that was started apart, and all that it started.
func signalGroup(child *os.Process, sig syscall.Signal) error {
	if err := syscall.Kill(-child.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// dialIn connects to a socket in dir. A socket's path is limited to 108 bytes,
// which a state folder may exceed: the way over /proc is always short.
func dialIn(ctx context.Context, dir, name string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name))
}
