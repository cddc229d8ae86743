package pool

import (
	"container/heap"
	"fmt"
	"time"
)

// tell says to all who wait where they stand.
func (p *planner) tell() {
	next := p.supply()
	made := 0
	for n, i := range p.unmet {
		w := Waiting{Claim: i, Position: n + 1}
		w.Reason, w.Message = p.reason(i, made)
		if p.blind[i] { // no machine is on its way, however many there might be
			p.Queue = append(p.Queue, w)
			continue
		}
		if !p.starting[i] {
			made++
		}
		if len(next) > 0 {
			at := next[0]
			w.Wait = max(time.Second, at.Sub(p.Now))
			if p.Pool.LeaseTime > 0 {
				next[0] = at.Add(p.turnaround())
				heap.Fix(&next, 0)
			} else { // when it comes back nobody knows
				heap.Pop(&next)
			}
		}
		p.Queue = append(p.Queue, w)
	}
}

// reason says why the claim waits; before it are so many that no machine is on its way for.
func (p *planner) reason(i, before int) (Reason, string) {
	switch {
	case p.Pool.Closing:
		return ReasonClosing, "the pool is being deleted"
	case p.blind[i]:
		return ReasonNoImage, p.Pool.NoImage
	case p.stuck[i]:
		return ReasonBackoff, p.Pool.Trouble
	case p.starting[i] || before < len(p.Create):
		return ReasonStarting, "a machine is starting"
	case p.Now.Before(p.Pool.BackoffUntil):
		return ReasonBackoff, p.Pool.Trouble
	case before >= p.room() && len(p.suspect) > 0:
		return ReasonIll, fmt.Sprintf("%d of the pool's %d machines are free and do not answer", len(p.suspect), p.total)
	case before >= p.room():
		return ReasonAtMax, fmt.Sprintf("the pool has %d machines, its max is %d", p.total, p.Pool.Max)
	}
	return ReasonLimited, fmt.Sprintf("%d machines are under creation already", p.creating+len(p.Create))
}

// turnaround is how long a machine is away with one claim.
func (p *planner) turnaround() time.Duration {
	if p.Pool.Reuse {
		return p.Pool.LeaseTime
	}
	return p.Pool.LeaseTime + p.Pool.StartTime
}

// supply guesses when machines will be free: those that are starting, those that can be
// made, those that others have. It is empty if nothing is known of how long
// anything takes.
func (p *planner) supply() moments {
	if p.Pool.Closing || len(p.unmet) == 0 || p.Pool.StartTime == 0 {
		return nil
	}
	var all moments
	future := func(t time.Time) {
		if t.Before(p.Now) {
			t = p.Now // overdue: any moment
		}
		all = append(all, t)
	}
	for _, m := range p.Machines {
		switch m.Phase {
		case Creating, Booting:
			future(m.Created.Add(p.Pool.StartTime))
		case Leased, Releasing:
			if p.Pool.LeaseTime > 0 {
				future(m.Since.Add(p.turnaround()))
			}
		case Deleting:
			future(p.Now.Add(p.Pool.StartTime))
		}
	}
	first := p.Now
	if p.Pool.BackoffUntil.After(first) {
		first = p.Pool.BackoffUntil
	}
	atOnce := max(1, p.Pool.MaxCreating)
	for n := range min(p.room(), len(p.unmet)) {
		future(first.Add(time.Duration(1+n/atOnce) * p.Pool.StartTime))
	}
	heap.Init(&all)
	return all
}

// Moments are a heap, earliest first.
type moments []time.Time //nolint:recvcheck // as container/heap wants it

func (m moments) Len() int           { return len(m) }
func (m moments) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m moments) Less(i, j int) bool { return m[i].Before(m[j]) }
func (m *moments) Push(x any)        { *m = append(*m, x.(time.Time)) }
func (m *moments) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
