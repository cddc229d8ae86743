//go:build linux

package podrelay_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/wire"
)

func itoa(i int) string { return fmt.Sprint(i) }

// call makes a request to the machine's agent, as the controller does.
func (p *pod) call(method string, req any) {
	p.t.Helper()
	h, err := host.Dial(p.t.Context(), host.Config{Endpoint: p.claim.Reach(), Agents: deliver.Dirs(agentsDir)})
	p.must(err)
	defer h.Close()
	p.must(h.Call(context.WithoutCancel(p.t.Context()), method, req, nil))
}

// release is what the controller does when the Pod is over.
func (p *pod) release() {
	p.t.Helper()
	p.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: p.claim.Lease})
}

const counting = `echo run >> runs; i=0; while [ ! -e stop ]; do echo $i; i=$((i+1)); sleep 0.02; done; echo over; exit 9`

func TestAContainerThatIsRestartedGoesOnWithItsRun(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	c.plan.WorkDir = ws
	volume := c.mount("ws", ws)
	first := c.start("/bin/sh", "-c", counting)
	first.await("\n5\n")
	first.signal(syscall.SIGKILL)
	before := first.end().out
	second := c.start("/bin/sh", "-c", counting)
	second.await("\n")
	c.machine("touch stop")
	got := second.end()
	if got.code != 9 || got.errs != "" || !strings.HasSuffix(got.out, "over\n") {
		t.Fatalf("%+v", got)
	}
	// All numbers came; only what was written and not acknowledged came twice.
	numbers := strings.Fields(strings.TrimSuffix(got.out, "over\n"))
	last := strings.Fields(before)
	var begin, end int
	if _, err := fmt.Sscan(numbers[0]+" "+last[len(last)-1], &begin, &end); err != nil {
		t.Fatal(err)
	}
	if begin > end+1 || begin < end-2 {
		t.Errorf("the first relay wrote up to %d, the second from %d on", end, begin)
	}
	for i, n := range numbers {
		if n != itoa(begin+i) {
			t.Fatalf("number %d is %s, want %d", i, n, begin+i)
		}
	}
	if got := p.read(filepath.Join(volume, "runs")); got != "run\n" {
		t.Errorf("runs: %q, want one", got)
	}
	// The kubelet's restart after that is one of the command.
	if got := c.sh("cat runs; exit 1"); got != (result{1, "run\n", ""}) {
		t.Errorf("%+v", got)
	}
}

// machine runs a command on the machine beside the container's.
func (c *container) machine(script string) string {
	c.t.Helper()
	got := c.finish(c.command("shell", "/bin/sh", "-c", script))
	if got.code != 0 || got.errs != "" {
		c.t.Errorf("%s: %+v", script, got)
	}
	return got.out
}

func TestARunThatEndedWhileNobodyWasThere(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	c.plan.WorkDir = ws
	volume := c.mount("ws", ws)
	first := c.start("/bin/sh", "-c", "echo ready; while [ ! -e go ]; do sleep 0.02; done; echo said; echo f > f; touch ended; exit 3")
	first.await("ready")
	first.signal(syscall.SIGKILL)
	first.end()
	c.machine("touch go; while [ ! -e ended ]; do sleep 0.02; done")
	got := c.sh("exit 1")
	if got.code != 3 || !strings.HasSuffix(got.out, "said\n") || got.errs != "" {
		t.Errorf("%+v", got)
	}
	if got := p.read(filepath.Join(volume, "f")); got != "f\n" {
		t.Errorf("f is %q", got)
	}
}

func TestARelayThatIsKilledWhileFilesComeBack(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	c.plan.WorkDir = ws
	volume := c.mount("ws", ws)
	first := c.start("/bin/sh", "-c", "echo run >> runs; echo ready; while [ ! -e go ]; do sleep 0.02; done; exit 3")
	first.await("ready")
	lock := flock.New(filepath.Join(p.dir, "state/views/v0/lock"))
	p.must(lock.Lock())
	c.machine("touch go")
	record := filepath.Join(p.dir, "state/containers/main.json")
	await(t, "the end to be written down", func() bool {
		b, err := os.ReadFile(record)
		return err == nil && strings.Contains(string(b), `"ended"`)
	})
	first.signal(syscall.SIGKILL)
	first.end()
	p.must(lock.Unlock())
	if _, err := os.Stat(filepath.Join(volume, "runs")); !os.IsNotExist(err) {
		t.Fatalf("runs: %v, want it not to be back", err)
	}
	if got := c.sh("echo again"); got != (result{3, "", ""}) {
		t.Errorf("%+v", got)
	}
	if got := p.read(filepath.Join(volume, "runs")); got != "run\n" {
		t.Errorf("runs: %q", got)
	}
}

func TestARunThatTheMachineForgot(t *testing.T) {
	p := newPod(t)
	c := p.container("main")
	first := c.start("/bin/sh", "-c", "echo ready; sleep 600")
	first.await("ready")
	first.signal(syscall.SIGKILL)
	first.end()
	p.release()
	// Which of the two depends on whether the agent's daemon still remembers its end.
	told := func(errs string) bool {
		return strings.Contains(errs, "forgotten") || strings.Contains(errs, "was released")
	}
	if got := c.sh("echo twice"); got.code != 125 || got.out != "" || !told(got.errs) {
		t.Errorf("%+v, want a fault that says so", got)
	}
	c.want("echo new", "new\n")
}

// TestAMachineThatIsLostDuringTheRun is never a normal end: the container fails, says so in its log, and tells the
// claim that results may be there.
func TestAMachineThatIsLostDuringTheRun(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	c.mount("ws", ws)
	c.env = append(c.env, "OUTRIGGER_ABSENCE=1s")
	c.plan.TerminationLog = p.at("message")
	message := p.mkdir("messages") + "/main"
	p.write(message, "")
	c.file(message, c.plan.TerminationLog)
	run := c.start("/bin/sh", "-c", "echo ready; echo result > "+ws+"/f; sleep 600")
	run.await("ready")
	p.server.Stop()
	p.server.Kill()
	got := run.end()
	if got.code != 125 || !strings.Contains(got.errs, "how the command ended is not known") ||
		!strings.Contains(got.errs, "no way back to the machine") || !strings.Contains(got.errs, "outrigger fetch --claim claim") {
		t.Errorf("%+v", got)
	}
	if text := p.read(message); !strings.Contains(text, "outrigger.dev/results-left") {
		t.Errorf("termination message %q", text)
	}
	p.server.Restart() // for what follows the test
}

// TestMarksInAnotherVolume: several volumes that differ in who sees them are one to those who wait for a mark.
func TestMarksInAnotherVolume(t *testing.T) {
	p := newPod(t)
	data, marks := p.at("z-data"), p.at("a-marks")
	c := p.container("main", view("v0", marks), view("v1", data))
	volume, marked := c.mount("data", data), c.mount("marks", marks)
	const parts = 8
	seen := make(chan error, 1)
	go func() {
		for part := range parts {
			var err error
			for err = fs.ErrNotExist; err != nil && t.Context().Err() == nil; {
				_, err = os.Stat(filepath.Join(marked, itoa(part)))
			}
			if err != nil {
				seen <- err
				return
			}
			for _, name := range []string{"1", "2", "3"} {
				fi, err := os.Stat(filepath.Join(volume, itoa(part), name))
				if err == nil && fi.Size() != 300_000 {
					err = fmt.Errorf("%d bytes, want 300000", fi.Size())
				}
				if err != nil {
					seen <- fmt.Errorf("mark %d is there, and its data: %w", part, err)
					return
				}
			}
		}
		seen <- nil
	}()
	c.want(`for i in 0 1 2 3 4 5 6 7; do mkdir `+data+`/$i; for n in 1 2 3; do head -c 300000 /dev/zero > `+data+`/$i/$n; done
		sleep 0.02; touch `+marks+`/$i; sleep 0.02; done`, "")
	if err := <-seen; err != nil {
		t.Error(err)
	}
}
