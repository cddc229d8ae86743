package pools

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach/via"
)

// A ledger holds what looks of one kind have shown of machines, to this process: a controller that has just begun
// knows of no failure. A machine is never judged by one look, see [core.judge].
type ledger struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[types.UID]*entry
}

// An entry is about one machine.
type entry struct {
	subject
	due      time.Time // of the next look
	looked   bool
	failures int       // in a row
	since    time.Time // of the first of them
	kind     fault.Kind
	words    string
	onTheWay bool // the last failure tells of the way to the machine, and nothing of the machine
}

// A subject is a machine that is looked at, and what it shares with others: its pool, and whatever of its provider
// and of the way to it can fail for many machines at once.
type subject struct {
	uid    types.UID
	name   string
	groups []string // the pool's first
}

func newLedger() *ledger { return &ledger{now: time.Now, entries: map[types.UID]*entry{}} }

// of returns the subject's entry. That of a machine that was never looked at is due at a random moment of the
// interval, so that after a restart not all are looked at, and judged, at the same moment. The caller holds mu.
func (l *ledger) of(s subject, every time.Duration) *entry {
	e := l.entries[s.uid]
	if e == nil {
		e = &entry{due: l.now().Add(rand.N(max(1, every)))}
		l.entries[s.uid] = e
	}
	e.subject = s
	return e
}

// due is how long it is until the next look.
func (l *ledger) due(s subject, every time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(s, every).due.Sub(l.now())
}

// passed notes a look that found nothing wrong. It tells whether the one before did.
func (l *ledger) passed(s subject, every time.Duration) (recovered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of(s, every)
	recovered = e.failures > 0
	*e = entry{subject: s, looked: true, due: l.now().Add(jitter(every))}
	return recovered
}

// failed notes a look that found something wrong. The next one is soon.
func (l *ledger) failed(s subject, every time.Duration, err error) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of(s, every)
	if e.failures == 0 {
		e.since = l.now()
	}
	e.failures++
	e.looked, e.kind, e.words, e.onTheWay = true, fault.Of(err), err.Error(), onTheWay(err)
	e.due = l.now().Add(jitter(every / 4))
	return e.failures == 1
}

// get returns a copy of what is known of a machine.
func (l *ledger) get(uid types.UID) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[uid]; e != nil {
		return *e
	}
	return entry{}
}

// gone forgets a machine whose object is gone, whoever removed it: it must not count among the ill for ever.
func (l *ledger) gone(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for uid, e := range l.entries {
		if e.name == name {
			delete(l.entries, uid)
		}
	}
}

func (l *ledger) forget(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, uid)
}

// count returns how many machines of a group were looked at, and how many of them looked ill last time.
func (l *ledger) count(group string) (ill, known int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if !e.looked || !slices.Contains(e.groups, group) {
			continue
		}
		known++
		if e.failures > 0 {
			ill++
		}
	}
	return ill, known
}

// ill returns the machines of a group that looked ill last time, in the order of their names.
func (l *ledger) ill(group string) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []entry
	for _, e := range l.entries {
		if e.failures > 0 && slices.Contains(e.groups, group) {
			all = append(all, *e)
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return all
}

// onTheWay tells whether an error is about the way: a proxy or hub that does not carry, or a network that this
// process does not have. Every machine behind it looks the same.
func onTheWay(err error) bool {
	var step *via.StepError
	return errors.As(err, &step) || fault.Is(err, fault.RouteRefused) ||
		errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN)
}
