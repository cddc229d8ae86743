package sshhost

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A memory holds what this process has learned, so that a question goes only to hosts that can answer it. What is
// true is on the hosts: who has forgotten asks all of them.
type memory struct {
	now func() time.Time

	mu       sync.Mutex
	machines map[machine.Name]*place
	order    []machine.Name // of machines, the one that was noted first is the first
	silent   map[string]*silence
}

// A place is what is known of where a machine is.
type place struct {
	home  string          // the host that has it; "": unknown
	asked map[string]bool // the hosts that Create asked for a slot; nil: Create was not called here
}

// A silence is a host that did not answer.
type silence struct {
	failures int
	since    time.Time // of the last failure
	until    time.Time // it is not asked before
	err      error
}

// mostMachines bounds how many machines are remembered. One that was forgotten costs a login to each host.
const mostMachines = 4096

// The pause after a host did not answer, doubled for each further time: so a host that is switched off takes up
// neither the time of callers nor the connections that may be opened at a time.
const (
	silenceFirst = 2 * time.Second
	silenceMost  = time.Minute
)

func newMemory() *memory {
	return &memory{now: time.Now, machines: map[machine.Name]*place{}, silent: map[string]*silence{}}
}

// note changes what is known of a machine.
func (m *memory) note(name machine.Name, change func(*place)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.machines[name]
	if p == nil {
		if len(m.order) >= mostMachines {
			delete(m.machines, m.order[0])
			m.order = m.order[1:]
		}
		p = &place{}
		m.machines[name] = p
		m.order = append(m.order, name)
	}
	change(p)
}

// ask notes that Create asks host for a machine of that name; "": none yet. So a Create that was refused
// everywhere before it asked leaves nothing to delete, also where nobody answers.
func (m *memory) ask(name machine.Name, host string) {
	m.note(name, func(p *place) {
		if p.asked == nil {
			p.asked = map[string]bool{}
		}
		if host != "" {
			p.asked[host] = true
		}
	})
}

// live notes that the machine is on host, and nowhere else: machines do not move.
func (m *memory) live(name machine.Name, host string) {
	m.note(name, func(p *place) { p.home = host })
}

// forget drops what is known of a machine that is no more. That no host was asked for one stays known.
func (m *memory) forget(name machine.Name, existed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.machines[name]
	switch {
	case p == nil:
	case existed || p.asked == nil:
		delete(m.machines, name)
		m.order = slices.DeleteFunc(m.order, func(n machine.Name) bool { return n == name })
	default:
		p.home = ""
	}
}

// mayBe tells whether host may be where a machine is, for all that this process knows.
func (m *memory) mayBe(name machine.Name, host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.machines[name]
	return p == nil || p.home == "" || p.home == host
}

// mayHold tells the same for a deletion, which also knows whom Create has asked.
func (m *memory) mayHold(name machine.Name, host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.machines[name]
	switch {
	case p == nil:
		return true
	case p.home != "":
		return p.home == host
	}
	return p.asked == nil || p.asked[host]
}

// errAway is in the chain of the error of a host that is not asked now.
var errAway = errors.New("did not answer")

// away returns why host is not asked now, or nil.
func (m *memory) away(host string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.silent[host]
	now := m.now()
	if s == nil || !now.Before(s.until) {
		return nil
	}
	return fault.New(fault.Unreachable, "%w", fmt.Errorf("%w %s ago and is asked again in %s: %w", errAway,
		now.Sub(s.since).Round(time.Second), s.until.Sub(now).Round(time.Second), s.err))
}

// answered notes how a try to enter host came out. A try that was given up since other hosts had answered says
// nothing of a host that answered before, and confirms that a silent one still is.
func (m *memory) answered(host string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.silent[host]
	switch {
	case errors.Is(err, errAway):
		return // it was not asked
	case err == nil, !fault.Is(err, fault.Unreachable):
		delete(m.silent, host)
		return
	case s == nil && errors.Is(err, errOutrun):
		return
	case s == nil:
		s = &silence{}
		m.silent[host] = s
	}
	s.failures++
	pause := silenceMost
	if n := s.failures - 1; n < 5 {
		pause = silenceFirst << n
	}
	s.since = m.now()
	s.until, s.err = s.since.Add(pause), err
}
