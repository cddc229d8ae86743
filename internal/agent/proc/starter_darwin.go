package proc

import (
	"context"
	"log/slog"
	"os/exec"
	"sync"
)

// rssUnit is that of ru_maxrss, in bytes.
const rssUnit = 1

// A Starter starts processes. launchd adopts their orphans.
type Starter struct {
	mu sync.Mutex // held while forking
}

// NewStarter returns a Starter.
func NewStarter() (*Starter, error) { return &Starter{}, nil }

func (s *Starter) start(cmd *exec.Cmd, u *int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return startWith(cmd, u)
}

func (*Starter) ended(*exec.Cmd) {}

// Run runs a command of the caller's own.
func (*Starter) Run(cmd *exec.Cmd) error { return cmd.Run() }

// Mind has nothing to do, see Reap.
func (*Starter) Mind(context.Context, *slog.Logger) {}

// Reap has nothing to do: launchd reaps.
func (*Starter) Reap() error { return nil }
