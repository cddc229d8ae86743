//go:build unix

package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killLimit is how long a tree may take to die after SIGKILL. A process in an
// uninterruptible wait can take for ever: then we say so.
const killLimit = 10 * time.Second

// Signal sends a signal, named without SIG: one that asks for the end to every process of the tree
// once; any other, which ends programs that do not expect it, to the main process, as in a container.
func (p *Process) Signal(name string) error {
	sig := unix.SignalNum("SIG" + name)
	if sig == 0 {
		return fmt.Errorf("signal %q: unknown here", name)
	}
	if sig == syscall.SIGKILL {
		return p.Kill()
	}
	switch sig {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP:
		_, err := send(p.id, sig)
		return err
	}
	if err := p.os.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", name, err)
	}
	return nil
}

// Kill kills the whole tree and returns when nothing of it is left, but for
// processes that are not ours to kill.
func (p *Process) Kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	return Kill(ctx, p.id)
}

// Kill kills the tree of id and returns when nothing of it is left. A tree
// that is gone, or of an earlier boot, is no error.
func Kill(ctx context.Context, id Identity) error {
	if b := boot(); id.Boot != "" && b != "" && id.Boot != b {
		return nil
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		left, err := send(id, syscall.SIGKILL)
		if err != nil || left == 0 {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("run %s: %d processes live on after SIGKILL: %w", id.ID, left, ctx.Err())
		}
	}
}

// send signals the tree and returns how many processes could be signalled.
func send(id Identity, sig syscall.Signal) (int, error) {
	all, err := table()
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	n := 0
	for _, e := range family(all, id, os.Getpid(), func(pid int) bool { return marked(pid, id.ID) }) {
		switch err := syscall.Kill(e.pid, sig); {
		case err == nil:
			n++
		case errors.Is(err, syscall.ESRCH), errors.Is(err, syscall.EPERM): // gone, or not ours
		default:
			return n, fmt.Errorf("signal process %d: %w", e.pid, err)
		}
	}
	return n, nil
}

// Self returns the identity of this process.
func Self() Identity {
	e, err := look(os.Getpid())
	if err != nil {
		return Identity{PID: os.Getpid(), Boot: boot()}
	}
	return Identity{PID: e.pid, Start: e.start, Boot: boot()}
}

// Alive tells whether the process of id itself, not one of its number, lives.
func Alive(id Identity) bool {
	if b := boot(); id.Boot != "" && b != "" && id.Boot != b {
		return false
	}
	e, err := look(id.PID)
	return err == nil && !e.zombie && e.start == id.Start
}
