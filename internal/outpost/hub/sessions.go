package hub

import (
	"context"
	"slices"
	"sync"
	"time"
)

// sessions are the outposts that are connected.
type sessions struct {
	mu      sync.Mutex
	here    []*session
	changed chan struct{} // closed when one was added
	gone    map[string]time.Time
}

func newSessions() *sessions {
	return &sessions{changed: make(chan struct{}), gone: map[string]time.Time{}}
}

func (ss *sessions) add(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.here = append(ss.here, s)
	close(ss.changed)
	ss.changed = make(chan struct{})
}

func (ss *sessions) remove(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.here = slices.DeleteFunc(ss.here, func(o *session) bool { return o == s })
	ss.gone[s.grant.Outpost.Network] = time.Now()
}

// all returns the sessions of a network, "" for all networks: those with the
// fewest connections first, and of equals the newest, since an older one of the
// same outpost may be dead without our knowing yet.
func (ss *sessions) all(network string) []*session {
	ss.mu.Lock()
	var found []*session
	for _, s := range ss.here {
		if network == "" || s.grant.Outpost.Network == network {
			found = append(found, s)
		}
	}
	ss.mu.Unlock()
	slices.SortStableFunc(found, func(a, b *session) int {
		if d := a.Streams() - b.Streams(); d != 0 {
			return d
		}
		return b.since.Compare(a.since)
	})
	return found
}

// await returns the sessions of a network as soon as there is one that was not
// tried, nil when ctx ends before.
func (ss *sessions) await(ctx context.Context, network string, tried map[*session]bool) []*session {
	for {
		ss.mu.Lock()
		changed := ss.changed
		ss.mu.Unlock()
		fresh := slices.DeleteFunc(ss.all(network), func(s *session) bool { return tried[s] })
		if len(fresh) > 0 {
			return fresh
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// lastSeen tells when the last outpost of a network went; zero: none was here.
func (ss *sessions) lastSeen(network string) time.Time {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.gone[network]
}
