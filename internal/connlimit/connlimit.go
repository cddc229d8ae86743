// Package connlimit bounds the connections of clients that have not said who they
// are. Who has no credentials costs little, and cannot keep others out: when there
// is no room, the oldest of those who hold most gives way to who comes.
package connlimit

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// A Limiter counts connections from Enter until they leave. Its methods may be
// called at once.
type Limiter struct {
	Total     int // at once
	PerSource int // of those, from one source

	mu   sync.Mutex
	n    int
	from map[string][]*entry // oldest first
}

type entry struct {
	source string
	end    func()
}

// Enter counts a connection of source, and ends another one if there is no room
// for it. leave takes it out, as it must be once it is over or has proved who it
// is; it may be called again. end is called at most once, and never after leave
// has returned true.
func (l *Limiter) Enter(source string, end func()) (leave func() bool) {
	e := &entry{source, end}
	l.mu.Lock()
	var out *entry
	switch {
	case len(l.from[source]) >= l.PerSource:
		out = l.from[source][0]
	case l.n >= l.Total:
		out = l.most()
	}
	if out != nil {
		l.remove(out)
	}
	if l.from == nil {
		l.from = map[string][]*entry{}
	}
	l.from[source] = append(l.from[source], e)
	l.n++
	l.mu.Unlock()
	if out != nil {
		out.end()
	}
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.remove(e)
	}
}

// most is the oldest one of the source that has most.
func (l *Limiter) most() *entry {
	var all []*entry
	for _, of := range l.from {
		if len(of) > len(all) {
			all = of
		}
	}
	return all[0]
}

// remove tells whether e was counted until now.
func (l *Limiter) remove(e *entry) bool {
	i := slices.Index(l.from[e.source], e)
	if i < 0 {
		return false
	}
	l.n--
	if l.from[e.source] = slices.Delete(l.from[e.source], i, i+1); len(l.from[e.source]) == 0 {
		delete(l.from, e.source)
	}
	return true
}

// Source is whom a connection from addr is counted for: an address of IPv4, or the
// /64 of one of IPv6, whose owner has all addresses in it.
func Source(addr net.Addr) string {
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return addr.String()
	}
	ip := at.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	block, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ip.String()
	}
	return block.String()
}
