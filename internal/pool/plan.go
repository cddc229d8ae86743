package pool

import (
	"cmp"
	"slices"
	"time"
)

// Plan decides.
func Plan(s Snapshot) Decision {
	p := newPlanner(s)
	if s.Pool.Closing {
		p.close()
		return p.done()
	}
	p.shrink()
	p.bind()
	p.create()
	p.retire()
	p.wake()
	return p.done()
}

// A planner is a decision in the making.
type planner struct {
	Snapshot
	Decision
	queue []int // who waits, in order

	total    int // machines that exist or may exist: all that count against Max
	creating int
	booting  int
	deleting int
	leaving  int                // machines that are released, and then deleted
	incoming int                // machines for anybody that will be idle soon
	fresh    int                // of those, how many of the pool's image
	unmade   int                // of those, how many the provider has not made yet
	idle     []Machine          // for anybody, best first
	suspect  []Machine          // for anybody, if they were well: they are waited for, and given to nobody
	made     []Machine          // for one claim each
	madeFor  map[string]Machine // the same, by the claim
	unmet    []int              // claims without a machine, in order
	starting map[int]bool       // of those, the ones that a machine is on its way for
	stuck    map[int]bool       // of those, the ones whose machine cannot be made for now
	blind    map[int]bool       // of the unmet, those for whom no image is known to make a machine of
	wants    []Creation         // in the order of their weight
	forClaim int                // the first so many of wants are for claims
}

func newPlanner(s Snapshot) *planner {
	p := &planner{Snapshot: s, madeFor: map[string]Machine{}, starting: map[int]bool{}, stuck: map[int]bool{}, blind: map[int]bool{}}
	for _, m := range s.Machines {
		p.total++
		switch {
		case m.Phase == Creating:
			p.creating++
		case m.Phase == Booting:
			p.booting++
		case m.Phase == Deleting:
			p.deleting++
		case m.Phase == Releasing && !m.Returns:
			p.leaving++
		}
		switch {
		case m.For != "" && m.Phase <= Idle:
			p.madeFor[m.For] = m
			p.made = append(p.made, m)
		case m.Phase == Idle && m.Suspect:
			p.suspect = append(p.suspect, m)
		case m.Phase == Idle:
			p.idle = append(p.idle, m)
		case m.Phase < Idle || m.Phase == Releasing && m.Returns:
			p.incoming++
			if m.Phase == Creating {
				p.unmade++
			}
			if m.Image == s.Pool.Image {
				p.fresh++
			}
		}
	}
	slices.SortFunc(p.idle, func(a, b Machine) int {
		return cmp.Or(compareBool(Outdated(s.Pool, a, s.Now), Outdated(s.Pool, b, s.Now)), a.Since.Compare(b.Since), cmp.Compare(a.Name, b.Name))
	})
	p.queue = order(s)
	return p
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// drop deletes a machine. It counts as one until it is gone.
func (p *planner) drop(m Machine, why Why) {
	p.Delete = append(p.Delete, Deletion{m.Name, why})
	p.deleting++
}

// dropIdle deletes n idle machines: outdated ones, then the oldest.
func (p *planner) dropIdle(n int, why Why) {
	byAge := slices.Clone(p.idle)
	slices.SortFunc(byAge, func(a, b Machine) int {
		return cmp.Or(compareBool(!Outdated(p.Pool, a, p.Now), !Outdated(p.Pool, b, p.Now)), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	gone := map[string]bool{}
	for _, m := range byAge[:min(max(0, n), len(byAge))] {
		p.drop(m, why)
		gone[m.Name] = true
	}
	p.idle = slices.DeleteFunc(p.idle, func(m Machine) bool { return gone[m.Name] })
}

// close lets go of all that nobody uses.
func (p *planner) close() {
	for _, m := range slices.Concat(p.made, p.idle, p.suspect) {
		if m.Phase == Idle {
			p.drop(m, WhyClosing)
		}
	}
	p.unmet = p.queue
	p.tell()
}

// shrink obeys a Max that was lowered, before those who wait get the rest.
func (p *planner) shrink() {
	excess := p.total - p.deleting - p.Pool.Max
	for ; excess > 0 && len(p.suspect) > 0; excess-- {
		p.drop(p.suspect[0], WhyExcess)
		p.suspect = p.suspect[1:]
	}
	p.dropIdle(excess, WhyExcess)
}

// bind gives machines away, in the queue's order.
func (p *planner) bind() {
	bound := map[string]bool{}
	for _, i := range p.queue {
		c := p.Claims[i]
		switch m, ok := p.madeFor[c.UID]; {
		case ok && m.Phase == Idle && !m.Suspect:
			p.Bind = append(p.Bind, Binding{i, m.Name})
			bound[m.Name] = true
			continue
		case ok:
			p.starting[i] = true
			p.stuck[i] = m.Phase == Creating && p.Pool.Failures > 0
		case !p.Pool.own(c) && len(p.idle) > 0:
			p.Bind = append(p.Bind, Binding{i, p.idle[0].Name})
			p.idle = p.idle[1:]
			continue
		}
		p.unmet = append(p.unmet, i)
	}
	waiting := map[string]bool{}
	for _, i := range p.unmet {
		waiting[p.Claims[i].UID] = true
	}
	for _, m := range p.made {
		if m.Phase == Idle && !waiting[m.For] && !bound[m.Name] {
			p.drop(m, WhyUnwanted)
		}
	}
}

// create asks for machines: for those who wait, in their order, then for warmth.
func (p *planner) create() {
	incoming := p.incoming
	for _, i := range p.unmet {
		c := p.Claims[i]
		switch {
		case p.starting[i]:
		case p.Pool.own(c):
			if image, known := p.Pool.imageFor(c); known {
				p.wants = append(p.wants, Creation{image, c.UID})
			} else {
				p.blind[i] = true
			}
		case incoming > 0:
			incoming--
			p.starting[i] = true
			p.stuck[i] = incoming < p.unmade && p.Pool.Failures > 0
		case p.Pool.NoImage != "":
			p.blind[i] = true
		default:
			p.wants = append(p.wants, Creation{Image: p.Pool.Image})
		}
	}
	p.forClaim = len(p.wants)
	current := min(incoming, p.fresh)
	for _, m := range slices.Concat(p.idle, p.suspect) {
		if !Outdated(p.Pool, m, p.Now) {
			current++
		}
	}
	if p.Pool.NoImage != "" {
		current = p.Pool.Warm
	}
	for range max(0, p.Pool.Warm-current) {
		p.wants = append(p.wants, Creation{Image: p.Pool.Image})
	}
	p.Create = p.wants[:max(0, min(len(p.wants), p.room(), p.allowance()))]
	if p.allowance() > 0 {
		// Those who wait for a machine of their own are not held up by idle ones.
		p.dropIdle(p.forClaim-p.room()-p.deleting, WhyRoom)
	}
}

// room is how many machines more there may be.
func (p *planner) room() int { return p.Pool.Max - p.total }

// bootingPer is how many machines may boot and be prepared for each that may be under creation: a provider is asked for
// them all the while, and who prepares them has connections to them.
const bootingPer = 4

// allowance is how many creations may begin now.
func (p *planner) allowance() int {
	most := max(1, p.Pool.MaxCreating)
	boot := bootingPer*most - p.creating - p.booting
	switch {
	case p.Now.Before(p.Pool.BackoffUntil):
		return 0
	case p.Pool.Failures > 0:
		return min(boot, 1-p.creating)
	}
	return min(boot, most-p.creating)
}

// retire deletes idle machines of which there are too many, and outdated ones as far as
// others stand in for them.
func (p *planner) retire() {
	var current, old []Machine
	for _, m := range p.idle {
		if Outdated(p.Pool, m, p.Now) {
			old = append(old, m)
		} else {
			current = append(current, m)
		}
	}
	byAge := func(a, b Machine) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name)) }
	slices.SortFunc(current, byAge)
	slices.SortFunc(old, byAge)
	for _, m := range current[:max(0, len(current)-p.Pool.Warm)] {
		p.drop(m, WhyExcess)
	}
	spare := max(0, len(old)-max(0, p.Pool.Warm-len(current)))
	if spare == 0 && len(old) > 0 && p.deleting+p.leaving == 0 && !p.standIn() && p.room() <= len(p.Create) && p.allowance() > len(p.Create) {
		spare = 1 // a full pool has no room for a stand-in: one at a time
	}
	for _, m := range old[:spare] {
		p.drop(m, WhyOutdated)
	}
}

// standIn tells whether a machine for anybody is on its way, or was just ordered.
func (p *planner) standIn() bool {
	return p.incoming > 0 || slices.ContainsFunc(p.Create, func(c Creation) bool { return c.For == "" })
}

// wake finds the next moment at which time alone changes the decision.
func (p *planner) wake() {
	sooner := func(t time.Time) {
		if t.After(p.Now) && (p.Next.IsZero() || t.Before(p.Next)) {
			p.Next = t
		}
	}
	if len(p.wants) > len(p.Create) {
		sooner(p.Pool.BackoffUntil)
	}
	if p.Pool.MaxAge > 0 {
		for _, m := range p.idle {
			sooner(m.Created.Add(p.Pool.MaxAge))
		}
	}
}

func (p *planner) done() Decision {
	if !p.Pool.Closing {
		p.tell()
	}
	return p.Decision
}
