package cloud

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/control/images"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/imagebuild"
)

// A Maker makes images of the cloud's machines, on which nothing runs: it reads the script
// itself. Its lines are
//
//	echo WORDS   says them
//	exit N       fails
//	wait         until Go is called, or the machine is gone
type Maker struct {
	Cloud *Cloud

	mu      sync.Mutex
	going   bool
	begun   int
	running map[string]int // by claim
	unmade  map[string]bool
}

var _ images.Maker = (*Maker)(nil)

// Go lets all that wait go on, now and later.
func (m *Maker) Go() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.going = true
}

// Begun is how many scripts were begun.
func (m *Maker) Begun() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begun
}

// Unmade tells whether a machine was made what it was before it was prepared.
func (m *Maker) Unmade(machine string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unmade[machine]
}

func (m *Maker) enter(claim string, by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running == nil {
		m.running, m.unmade = map[string]int{}, map[string]bool{}
	}
	if by > 0 {
		m.begun++
	}
	if m.running[claim] += by; m.running[claim] > 1 {
		m.Cloud.violate("claim %s: two scripts at once", claim)
	}
}

// Reopen implements images.Maker.
func (m *Maker) Reopen(context.Context, handoff.Claim, pools.Work) error { return nil }

// Provision implements images.Maker.
func (m *Maker) Provision(ctx context.Context, c handoff.Claim, r imagebuild.Recipe, out io.Writer) error {
	m.enter(c.Name, 1)
	defer m.enter(c.Name, -1)
	for n, line := range strings.Split(strings.TrimSpace(string(r.Script)), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "echo":
			fmt.Fprintln(out, rest)
		case "exit":
			code, _ := strconv.Atoi(rest)
			return fault.New(fault.ScriptFailed, "%w", &imagebuild.ScriptError{Line: n + 1, Command: line, ExitCode: code})
		case "wait":
			if err := m.wait(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Maker) wait(ctx context.Context, c handoff.Claim) error {
	for {
		m.mu.Lock()
		going := m.going
		m.mu.Unlock()
		if _, err := m.Cloud.get(c.Machine); err != nil {
			return fault.New(fault.MachineLost, "machine %s: connection lost", c.Machine)
		}
		if going {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Unmake implements images.Maker.
func (m *Maker) Unmake(_ context.Context, c handoff.Claim, _ pools.Work) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unmade[string(c.Machine)] = true
	return nil
}
