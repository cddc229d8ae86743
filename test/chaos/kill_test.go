//go:build linux

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/test/soak"
	"outrigger.dev/outrigger/test/sshd"
)

// kills is how many moments are tried for each victim, if this is no soak.
const kills = 25

// busy keeps a run going for a while, with children that do not stay in its
// session, and changes files all the time.
const busy = `#!/bin/sh
setsid sleep 300 &
i=0
while [ $i -lt 40 ]; do
  echo $i >counter
  cp big big.$((i % 5))
  echo line $i
  sleep 0.02
  i=$((i+1))
done
`

// TestKilledClient holds that a client killed at any moment loses nothing: local files are as they were
// or as the run made them, what the command wrote can be fetched, and then gc leaves nothing. Even
// seeds are machines of this computer, odd ones those of an SSH server.
func TestKilledClient(t *testing.T) {
	srv := sshd.Start(t, sshd.Options{})
	for _, seed := range soak.Seeds(t, 2*kills) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			if seed%2 == 1 {
				p.configure(t, srv, srv.Port)
			}
			killClient(t, p, seed)
		})
	}
	t.Cleanup(func() { // runs before the server is gone
		left, err := filepath.Glob(filepath.Join(srv.Home, ".outrigger/leases/[^.]*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left on the machine: %v, %v", left, err)
		}
	})
}

func killClient(t *testing.T, p *place, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	before := p.fill(t, rnd)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := p.start(ctx, t)
	// The moment is drawn, so that all of them are met in time; nothing is waited for.
	alarm := time.AfterFunc(time.Duration(rnd.IntN(2500))*time.Millisecond, func() {
		_ = cmd.Process.Kill() // it may have ended by itself
	})
	_ = cmd.Wait() // killed, most likely
	alarm.Stop()

	for _, r := range p.fetchable(ctx, t) {
		if out, err := p.command(ctx, "fetch", r.ID).CombinedOutput(); err != nil {
			t.Fatalf("fetch %s: %v\n%s", r.ID, err, out)
		}
		// The command went on to its end, with nobody to listen.
		tree := p.tree(t)
		if got := string(tree["counter"]); got != "39\n" {
			t.Errorf("counter is %q, want what the command wrote last", got)
		}
		for i := range 5 {
			if name := fmt.Sprintf("big.%d", i); !bytes.Equal(tree[name], before["big"]) {
				t.Errorf("%s: %d bytes, want all %d that the command wrote", name, len(tree[name]), len(before["big"]))
			}
		}
	}
	p.collect(ctx, t)
	p.nothingLeft(t, "/nonexistent")
	p.noProcesses(t)
	for name, got := range p.tree(t) {
		want, known := before[name]
		switch {
		case known && !bytes.Equal(got, want):
			t.Errorf("%s was changed: the run never writes to it", name)
		case !known && strings.HasPrefix(name, "big.") && !bytes.Equal(got, before["big"]):
			t.Errorf("%s came back in part: %d of %d bytes", name, len(got), len(before["big"]))
		case !known && !strings.HasPrefix(name, "big.") && name != "counter":
			t.Errorf("%s is nobody's", name)
		}
	}
}

func (p *place) start(ctx context.Context, t *testing.T) *exec.Cmd {
	t.Helper()
	file := filepath.Join(p.home, "script")
	if err := os.WriteFile(file, []byte(busy), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := p.command(ctx, "run", "--quiet", "--at", p.at(), "--script", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// A fetchable run is one whose results are not all here.
type fetchable struct {
	ID      string `json:"id"`
	Machine string `json:"machine"`
}

func (p *place) fetchable(ctx context.Context, t *testing.T) []fetchable {
	t.Helper()
	out, err := p.command(ctx, "fetch", "--output", "json").Output()
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	var list []fetchable
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("fetch --output json: %v\n%s", err, out)
	}
	return list
}

// at is a path outside of the machine's folders that runs have their files appear at.
func (p *place) at() string { return filepath.Join(p.home, "at", "work") }

// collect runs gc, which has to say that all is well.
func (p *place) collect(ctx context.Context, t *testing.T) {
	t.Helper()
	if out, err := p.command(ctx, "gc").CombinedOutput(); err != nil {
		t.Fatalf("gc: %v\n%s", err, out)
	}
	if _, err := os.Lstat(filepath.Dir(p.at())); !os.IsNotExist(err) {
		t.Errorf("%s is left, or %v", p.at(), err)
	}
}

// TestKilledParts kills whatever process of a run on this computer comes first,
// at random moments, until the run has ended. It may fail, with our exit code, but
// it ends, and gc leaves nothing.
func TestKilledParts(t *testing.T) {
	for _, seed := range soak.Seeds(t, kills) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			rnd := rand.New(rand.NewPCG(seed, 2))
			p.fill(t, rnd)
			if err := os.MkdirAll(filepath.Join(p.home, ".config/outrigger"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(p.home, ".config/outrigger/config.yaml"), []byte("run: {absence: 3s}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd := p.start(ctx, t)
			alarm := time.AfterFunc(time.Duration(rnd.IntN(1500))*time.Millisecond, func() {
				others := p.processes(cmd.Process.Pid)
				if len(others) > 0 {
					_ = syscall.Kill(others[rnd.IntN(len(others))], syscall.SIGKILL) // it may be gone by now
				}
			})
			err := cmd.Wait()
			alarm.Stop()
			if ctx.Err() != nil {
				t.Fatal("the run did not end")
			}
			switch code := cmd.ProcessState.ExitCode(); code {
			case 0, 125, 128 + int(syscall.SIGKILL): // the last when the script itself was hit
			default:
				t.Errorf("exit code %d (%v)", code, err)
			}
			// What was hit may have been the machine: then its results are given up, by name.
			for _, r := range p.fetchable(ctx, t) {
				if p.command(ctx, "fetch", r.ID).Run() == nil {
					continue
				}
				if out, err := p.command(ctx, "vm", "delete", r.Machine).CombinedOutput(); err != nil {
					t.Errorf("vm delete %s: %v\n%s", r.Machine, err, out)
				}
			}
			p.collect(ctx, t)
			p.nothingLeft(t, "/nonexistent")
			p.noProcesses(t)
		})
	}
}

// processes lists what runs below the place's home, apart from some.
func (p *place) processes(except ...int) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
next:
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		for _, e := range except {
			if pid == e {
				continue next
			}
		}
		for _, file := range []string{"environ", "cmdline"} {
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err == nil && bytes.Contains(b, []byte(p.home+"/")) {
				pids = append(pids, pid)
				continue next
			}
		}
	}
	return pids
}

// noProcesses waits until nothing of the place runs, which the kernel may take
// a moment to bring about.
func (p *place) noProcesses(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		pids := p.processes()
		if len(pids) == 0 {
			return
		}
		if time.Now().After(deadline) {
			for _, pid := range pids {
				line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				if err == nil || !os.IsNotExist(err) {
					t.Errorf("process %d is left: %q, %v", pid, line, err)
				}
			}
			return
		}
		<-tick.C
	}
}
