//go:build linux

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/test/processes"
	"outrigger.dev/outrigger/test/soak"
)

// victims are the kinds of processes that there are to kill. Some cases rather hold everything up for a while.
var victims = []string{"client", "client", "daemon", "session", "server", "script", "any", "stall"}

// kindOf tells what a process is to a run.
func kindOf(p processes.Process) string {
	for _, k := range [][2]string{
		{bin + "/outrigger run ", "client"},
		{"__local-machine", "server"},
		{"qemu-system-", "server"},
		{"outrigger-agent daemon", "daemon"},
		{"outrigger-agent ", "session"},
	} {
		if strings.Contains(p.Command, k[0]) {
			return k[1]
		}
	}
	return "script"
}

// hits counts what was killed, by its kind.
type hits struct {
	mu    sync.Mutex
	count map[string]int
}

func (h *hits) add(t *testing.T, kind, where string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count[kind]++
	soak.Count(t, "hit "+kind+" on "+where)
}

func (h *hits) of(kinds ...string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range kinds {
		n += h.count[k]
	}
	return n
}

// TestKills holds that whatever process of a run is killed at whatever moment, on this computer and on a host behind
// a bad line: what the command wrote to its output arrives as it was written, as far as it arrives; its results are here,
// or where fetch says that they are; nothing of the user's changes; no slot is lent out twice; and after gc nothing is left.
func TestKills(t *testing.T) {
	for _, seed := range soak.Seeds(t, 60) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			s := newLocal
			if seed%3 > 0 {
				s = func(t *testing.T) *site { return newSSH(t, seed, rnd) }
			}
			s(t).killSome(t, rnd, 2500*time.Millisecond, 2*time.Minute)
		})
	}
}

// TestKilledVMs is the same with virtual machines, of which also processes inside are killed.
func TestKilledVMs(t *testing.T) {
	for _, seed := range soak.Seeds(t, 2) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 2))
			s := newQEMU(t)
			if rnd.IntN(2) == 0 {
				inside := []string{"outrigger-agent daemon", "outrigger-agent ", "sshd"}[rnd.IntN(3)]
				s.clients[0].prelude = fmt.Sprintf(killInside, float64(rnd.IntN(1500))/1000, inside)
				soak.Count(t, "hit "+inside+" in qemu")
			}
			s.killSome(t, rnd, 15*time.Second, 5*time.Minute)
		})
	}
}

// killInside kills on the machine, after a while, what has some words in its arguments.
const killInside = `
(sleep %.3f
for p in /proc/[0-9]*; do
  case "$(tr '\0' ' ' <$p/cmdline)" in *%q*) kill -9 ${p#/proc/};; esac
done) >/dev/null 2>&1 &
`

// killSome starts the clients of the site and kills one or two processes within some time.
func (s *site) killSome(t *testing.T, rnd *rand.Rand, within, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for _, c := range s.clients {
		c.start(ctx, t, rnd)
	}
	hit := &hits{count: map[string]int{}}
	var wg sync.WaitGroup
	over := make(chan struct{})
	for range 1 + rnd.IntN(2) {
		// The moment is drawn, so that all of them are met in time; nothing is waited for.
		victim, moment, pick := victims[rnd.IntN(len(victims))], rnd.Int64N(int64(within)), int(rnd.Uint32())
		wg.Go(func() {
			// Of a kind that is not there the first that comes.
			for wait := time.After(time.Duration(moment)); ; wait = time.After(150 * time.Millisecond) {
				select {
				case <-wait:
					if s.hit(t, hit, victim, pick) {
						return
					}
				case <-over:
					return
				}
			}
		})
	}
	for _, c := range s.clients {
		c.wait(t)
	}
	close(over)
	wg.Wait()
	if ctx.Err() != nil {
		t.Errorf("it did not end within %s", limit)
	}
	ctx, cancel = context.WithTimeout(context.Background(), limit)
	defer cancel()
	for _, c := range s.clients {
		c.judge(ctx, t, hit)
	}
	s.nothingLeft(ctx, t)
}

// hit kills a process of the kind, and tells whether there was one.
func (s *site) hit(t *testing.T, h *hits, victim string, pick int) bool {
	switch {
	case victim == "stall":
		if s.stall(time.Duration(50+pick%1500) * time.Millisecond) {
			h.add(t, victim, s.kind)
		}
		return true
	case victim == "server" && s.server != nil:
		if s.server.Connections() == 0 {
			return false
		}
		h.add(t, victim, s.kind)
		s.server.Kill()
		return true
	}
	some := processes.Of(s.roots...)
	if victim != "any" {
		some = slices.DeleteFunc(some, func(p processes.Process) bool { return kindOf(p) != victim })
	}
	if len(some) == 0 {
		return false
	}
	p := some[pick%len(some)]
	killed, err := p.Kill()
	if err != nil {
		t.Errorf("kill %v: %v", p, err)
	}
	if killed {
		h.add(t, kindOf(p), s.kind)
	}
	return killed
}
