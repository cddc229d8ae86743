package pool

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// Patience is how long a namespace waits without getting anything until it counts as
// having one machine less than it has. A run on a CI machine takes minutes, so
// this lets a few pass.
const Patience = 10 * time.Minute

// order returns the indices of s.Claims, who is next first.
func order(s Snapshot) []int {
	teams := map[string]*team{}
	at := func(namespace string) *team {
		t := teams[namespace]
		if t == nil {
			t = &team{name: namespace}
			teams[namespace] = t
		}
		return t
	}
	for _, m := range s.Machines {
		if m.Namespace == "" {
			continue
		}
		t := at(m.Namespace)
		t.has++
		if m.Phase == Leased && m.Since.After(t.given) {
			t.given = m.Since
		}
	}
	queue := make([]int, len(s.Claims))
	for i := range queue {
		queue[i] = i
	}
	slices.SortFunc(queue, func(a, b int) int { return s.Claims[a].compare(s.Claims[b]) })

	sorted := make([]int, 0, len(queue))
	for from := 0; from < len(queue); { // one priority after the other
		to := from
		for to < len(queue) && s.Claims[queue[to]].Priority == s.Claims[queue[from]].Priority {
			t := at(s.Claims[queue[to]].Namespace)
			t.queue = append(t.queue, queue[to])
			to++
		}
		sorted = turns(sorted, s, teams)
		from = to
	}
	return sorted
}

// compare orders by priority, then age. The UID makes the order total.
func (c Claim) compare(other Claim) int {
	return cmp.Or(cmp.Compare(other.Priority, c.Priority), c.Created.Compare(other.Created), cmp.Compare(c.UID, other.UID))
}

// A team is a namespace as it stands in the queue.
type team struct {
	name  string
	has   int       // machines that it holds, or is given by this order
	given time.Time // when it got one last, as far as its machines tell
	queue []int     // its claims of the priority at hand, oldest first
	score int
	head  Claim
}

// turns empties the teams' queues: the one with the lowest score is next.
func turns(sorted []int, s Snapshot, teams map[string]*team) []int {
	var line lineup
	for _, t := range teams {
		if len(t.queue) > 0 {
			t.look(s)
			line = append(line, t)
		}
	}
	heap.Init(&line)
	for len(line) > 0 {
		t := line[0]
		sorted = append(sorted, t.queue[0])
		t.queue = t.queue[1:]
		t.has++
		t.given = s.Now
		if len(t.queue) == 0 {
			heap.Pop(&line)
			continue
		}
		t.look(s)
		heap.Fix(&line, 0)
	}
	return sorted
}

// look finds the score: machines, less one for each Patience that the first claim
// has waited since the namespace got one.
func (t *team) look(s Snapshot) {
	t.head = s.Claims[t.queue[0]]
	since := t.head.Created
	if t.given.After(since) {
		since = t.given
	}
	t.score = t.has - int(max(0, s.Now.Sub(since))/Patience)
}

// A lineup is a heap of teams.
type lineup []*team //nolint:recvcheck // as container/heap wants it

func (l lineup) Len() int      { return len(l) }
func (l lineup) Swap(i, j int) { l[i], l[j] = l[j], l[i] }
func (l lineup) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(l[i].score, l[j].score), l[i].head.Created.Compare(l[j].head.Created), cmp.Compare(l[i].name, l[j].name)) < 0
}
func (l *lineup) Push(x any) { *l = append(*l, x.(*team)) }
func (l *lineup) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}
