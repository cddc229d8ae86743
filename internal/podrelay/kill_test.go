//go:build linux

package podrelay_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/soak"
)

// fewLines says what it counts, and leaves what it says.
const fewLines = `echo run >> runs; i=0; while [ $i -lt 60 ]; do echo $i | tee -a said; i=$((i+1)); sleep 0.02; done; exit 9`

// TestKilledRelays kills the relay of a container, or the server that it is connected to, at random moments while the line
// breaks and stalls. The kubelet starts the relay again; the command has run once, all that it said has come, some of it
// perhaps twice, and its files are there.
func TestKilledRelays(t *testing.T) {
	for _, seed := range soak.Seeds(t, 6) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 4))
			p := newPod(t)
			line := p.behind(t, seed, rnd)
			ws := p.at("workspace")
			c := p.container("main", view("v0", ws))
			c.plan.WorkDir = ws
			volume := c.mount("ws", ws)
			end := c.untilItEnds(rnd)
			if end.code != 9 {
				t.Errorf("exit code %d, faults %v; stderr: %s", end.code, line.Faults(), end.errs)
			}
			c.counted(end.out)
			if got := p.read(filepath.Join(volume, "runs")); got != "run\n" {
				t.Errorf("runs: %q, want one", got)
			}
			if got := strings.Fields(p.read(filepath.Join(volume, "said"))); len(got) != 60 {
				t.Errorf("%d lines came back of 60", len(got))
			}
			p.release()
			left, err := os.ReadDir(filepath.Join(p.server.Home, ".outrigger/leases"))
			for _, e := range left {
				if err != nil || !strings.HasPrefix(e.Name(), ".") {
					t.Errorf("left on the machine: %s, %v", e.Name(), err)
				}
			}
		})
	}
}

// behind puts a line that breaks between the Pod and its machine.
func (p *pod) behind(t *testing.T, seed uint64, rnd *rand.Rand) *faultproxy.Proxy {
	t.Helper()
	line, err := faultproxy.Start(faultproxy.Config{
		Target: fmt.Sprintf("127.0.0.1:%d", p.server.Port),
		Plan: faultproxy.Plan{
			Seed: seed, Every: 32<<10 + rnd.Int64N(1<<20), Max: rnd.IntN(5), Pause: time.Duration(50+rnd.IntN(300)) * time.Millisecond,
			Kinds: []faultproxy.Kind{faultproxy.Cut, faultproxy.Finish, faultproxy.Pause},
		},
	})
	p.must(err)
	t.Cleanup(func() { line.Close() })
	p.claim.Endpoint.Port = line.Port()
	return line
}

// untilItEnds runs the command, and starts the relay again as often as it was killed.
func (c *container) untilItEnds(rnd *rand.Rand) result {
	c.t.Helper()
	var all result
	for kills := 1 + rnd.IntN(3); ; kills-- {
		run := c.start("/bin/sh", "-c", fewLines)
		server := rnd.IntN(3) == 0
		select {
		case <-run.done:
		case <-time.After(time.Duration(rnd.IntN(2000)) * time.Millisecond): // the moment; nothing is waited for
			switch {
			case kills <= 0:
			case server:
				soak.Count(c.t, "killed the relay's server")
				c.server.Kill()
			default:
				soak.Count(c.t, "killed the relay")
				run.signal(syscall.SIGKILL)
			}
		}
		got := run.end()
		all.out += got.out
		all.errs += got.errs
		if all.code = got.code; all.code != -1 {
			return all
		}
	}
}

// counted holds that no number is missing, whatever came twice. A relay that is killed may have written a part of a line.
func (c *container) counted(out string) {
	c.t.Helper()
	next := 0
	for _, line := range strings.Fields(out) {
		if line == fmt.Sprint(next) {
			next++
		}
	}
	if next != 60 {
		c.t.Errorf("%d is missing in the output:\n%s", next, out)
	}
}
