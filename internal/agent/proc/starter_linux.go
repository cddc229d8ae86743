package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// rssUnit is that of ru_maxrss, in bytes.
const rssUnit = 1024

// A Starter starts processes and adopts their orphans, so that no tree is left
// without a parent who knows it.
type Starter struct {
	mu    sync.Mutex // held while forking, so that Reap knows every child that it sees
	known map[*exec.Cmd]bool
}

// NewStarter makes this process the reaper of everything below it.
func NewStarter() (*Starter, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become a reaper: %w", err)
	}
	return &Starter{known: map[*exec.Cmd]bool{}}, nil
}

func (s *Starter) start(cmd *exec.Cmd, u *int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := startWith(cmd, u); err != nil {
		return err
	}
	s.known[cmd] = true
	return nil
}

func (s *Starter) ended(cmd *exec.Cmd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, cmd)
}

// Run runs a command of the caller's own, which Reap must know.
func (s *Starter) Run(cmd *exec.Cmd) error {
	if err := s.start(cmd, nil); err != nil {
		return err
	}
	defer s.ended(cmd)
	return cmd.Wait()
}

// reapPause is the least time between two looks, so that a run with many
// short-lived orphans does not keep us busy; reapEvery is the most.
const (
	reapPause = 50 * time.Millisecond
	reapEvery = 10 * time.Second
)

// Mind reaps whenever a child ends, until ctx does.
func (s *Starter) Mind(ctx context.Context, log *slog.Logger) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	tick := time.NewTicker(reapEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-ended:
		}
		if err := s.Reap(); err != nil {
			log.Error("reap", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reapPause):
		}
	}
}

// Reap takes adopted orphans that ended off the process table. When nothing
// is under way it also kills those that live: nobody else knows them.
func (s *Starter) Reap() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ours := map[int]bool{}
	for cmd := range s.known {
		ours[cmd.Process.Pid] = true
	}
	all, err := table()
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	var errs []error
	for _, e := range all {
		if e.parent != os.Getpid() || ours[e.pid] {
			continue
		}
		if !e.zombie {
			if len(ours) == 0 {
				errs = append(errs, ignoreGone(syscall.Kill(e.pid, syscall.SIGKILL)))
			}
			continue
		}
		_, err := syscall.Wait4(e.pid, nil, syscall.WNOHANG, nil)
		if !errors.Is(err, syscall.ECHILD) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EPERM) {
		return nil
	}
	return err
}
