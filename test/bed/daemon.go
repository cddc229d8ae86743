//go:build linux

package main

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mark is the variable by which the processes of the bed are found.
const mark = "OUTRIGGER_BED"

// A daemon is a process that outlives the command that started it.
type daemon struct {
	name string
	argv []string
	env  []string
	// clone are the namespaces that it gets of its own.
	clone uintptr
}

// start starts the daemon unless it runs, with these very arguments. Its output is in a file.
func (b *bed) start(d daemon) error {
	if pid := b.find(d.name); pid != 0 {
		if slices.Equal(cmdline(pid), d.argv) && !replaced(pid) {
			return nil
		}
		b.say("%s has other arguments or another program by now: starting it again", d.name)
		if err := b.stop(5*time.Second, d.name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(b.in("log"), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(b.logFile(d.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.argv[0], d.argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.Env = append(append(slices.DeleteFunc(os.Environ(), noise), d.env...), mark+"="+b.state+"#"+d.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: d.clone}
	if err := cmd.Start(); err != nil { // nobody waits: it stays
		return err
	}
	// The kernel tells of a new program's environment a moment after that has begun.
	pid := cmd.Process.Pid
	awaitNone(2*time.Second, func() []int {
		if b.marked()[pid] == "" {
			return []int{pid}
		}
		return nil
	})
	return nil
}

// replaced tells whether the program that the process executes is there no more.
func replaced(pid int) bool {
	target, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	return err == nil && strings.HasSuffix(target, " (deleted)")
}

// noise are variables of whoever calls us that a daemon would take for its own.
func noise(entry string) bool {
	for _, name := range []string{"KUBECONFIG=", "NOTIFY_SOCKET=", "GOFLAGS=", "GODEBUG=", "GOMAXPROCS=", "MAKE"} {
		if strings.HasPrefix(entry, name) {
			return true
		}
	}
	return false
}

func (b *bed) logFile(name string) string { return b.in("log", name+".log") }

// tail is what the daemon said last.
func (b *bed) tail(name string) string {
	data, err := os.ReadFile(b.logFile(name))
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4<<10):])
}

// find returns the daemon's process, or 0.
func (b *bed) find(name string) int {
	for pid, owner := range b.marked() {
		if owner == name {
			return pid
		}
	}
	return 0
}

// marked returns all processes of the bed with the name of their daemon. Those that
// a daemon has started are called "shim", for a container, "vm", or just "child".
func (b *bed) marked() map[int]string {
	found := map[int]string{}
	for _, pid := range processes() {
		environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		if err != nil {
			continue
		}
		prefix := []byte(mark + "=" + b.state + "#")
		for entry := range bytes.SplitSeq(environ, []byte{0}) {
			if bytes.HasPrefix(entry, prefix) {
				found[pid] = string(entry[len(prefix):])
			}
		}
	}
	owner := maps.Clone(found)
	for pid, name := range owner {
		argv := cmdline(pid)
		if len(argv) == 0 {
			delete(found, pid) // it has ended and nobody has asked how
			continue
		}
		switch program := filepath.Base(argv[0]); {
		case strings.HasPrefix(program, "containerd-shim"):
			found[pid] = "shim"
		case strings.HasPrefix(program, "qemu-system"):
			found[pid] = "vm"
		default:
			if parent := parentOf(pid); owner[parent] == name {
				found[pid] = "child"
			}
		}
	}
	return found
}

func processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func cmdline(pid int) []string {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil || len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

func parentOf(pid int) int {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(data), ") ") // a name may hold anything but that
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return parent
}

// stop ends daemons of the names, all at once: those that do not end by SIGTERM in time by SIGKILL.
func (b *bed) stop(grace time.Duration, names ...string) error {
	ours := func() (pids []int) {
		for pid, name := range b.marked() {
			if slices.Contains(names, name) {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	if grace > 0 {
		kill(ours(), syscall.SIGTERM)
		if awaitNone(grace, ours) {
			return nil
		}
	}
	kill(ours(), syscall.SIGKILL)
	if !awaitNone(10*time.Second, func() []int { pids := ours(); kill(pids, syscall.SIGKILL); return pids }) {
		return errors.New("some processes do not end: " + strings.Join(names, ", "))
	}
	return nil
}

func kill(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, s) // one that has ended meanwhile is as well
	}
}

func awaitNone(limit time.Duration, list func() []int) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); <-tick.C {
		if len(list()) == 0 {
			return true
		}
	}
	return false
}
