//go:build linux

package controlchaos

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/test/cloud"
	"outrigger.dev/outrigger/test/soak"
)

// cloudy is a bad day at the provider.
var cloudy = cloud.Faults{Fail: .1, Lose: .1, Full: .05, Delay: 60 * time.Millisecond}

// wanted is how many claims are served at least, however few kills there are.
const wanted = 200

// TestKills kills the controller at moments that a seed says; in the middle the API server is killed too.
func TestKills(t *testing.T) {
	for _, seed := range soak.Seeds(t, 1) {
		t.Run(soak.Name(seed), func(t *testing.T) { killAll(t, seed) })
	}
}

func killAll(t *testing.T, seed uint64) {
	l := newLoad(t, cloudy, seed)
	l.begin()
	rnd := rand.New(rand.NewPCG(seed, 1))
	c := start(t, l.setup)
	for n := range *kills {
		time.Sleep(time.Duration(200+rnd.IntN(1200)) * time.Millisecond) // the random moment
		if n == *kills/2 {
			l.server.KillAPI()
			time.Sleep(time.Second) // for a while there is none
			l.must(l.server.StartAPI(t.Context()))
		}
		c.kill()
		soak.Count(t, "killed the controller")
		c = start(t, l.setup)
	}
	l.patiently("all that were wanted", func() error {
		if l.served.Load() < wanted {
			return errNotYet
		}
		return nil
	})
	l.finish()
	t.Logf("%d kills", *kills)
}

// Of two controllers one leads. It is killed, or paused for longer than its lease and then
// goes on, not knowing what has happened since.
func TestFailover(t *testing.T) {
	l := newLoad(t, cloudy, 0)
	l.setup.Elect = true
	l.begin()
	leader, other := start(t, l.setup), start(t, l.setup)
	for n := range 6 {
		var took time.Time
		l.patiently("one leads", func() error {
			switch {
			case leader.leads():
				return nil
			case other.leads():
				leader, other = other, leader
				return nil
			}
			return errNotYet
		})
		time.Sleep(time.Duration(500+rand.IntN(1000)) * time.Millisecond) // the random moment
		took = time.Now()
		if n%2 == 0 {
			leader.kill()
			leader, other = other, start(t, l.setup)
		} else {
			leader.signal(t, syscall.SIGSTOP)
			l.patiently("the other leads", func() error {
				if !other.leads() {
					return errNotYet
				}
				return nil
			})
			time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond) // the other has begun
			leader.signal(t, syscall.SIGCONT)
			<-leader.done // it finds that it does not lead any more
			leader, other = other, start(t, l.setup)
		}
		l.patiently("the other leads", func() error {
			if !leader.leads() && !other.leads() {
				return errNotYet
			}
			return nil
		})
		t.Logf("taken over after %s", time.Since(took).Round(100*time.Millisecond))
	}
	l.patiently("all that were wanted", func() error {
		if l.served.Load() < wanted {
			return errNotYet
		}
		return nil
	})
	l.finish()
}
