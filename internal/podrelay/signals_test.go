//go:build linux

package podrelay_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSignalsReachTheCommand(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	volume := c.mount("ws", ws)
	run := c.start("/bin/sh", "-c", `
		trap 'echo usr1' USR1; trap 'echo usr2' USR2; trap 'echo int' INT; trap 'echo hup' HUP; trap 'echo quit' QUIT
		trap 'echo term; echo saved > `+ws+`/state; exit 5' TERM
		echo ready; while :; do sleep 0.05; done 2>/dev/null`) // sh says which signal its sleep died of
	run.await("ready")
	for _, s := range []struct {
		sig  syscall.Signal
		said string
	}{{syscall.SIGUSR1, "usr1"}, {syscall.SIGUSR2, "usr2"}, {syscall.SIGINT, "int"}, {syscall.SIGINT, "int\nint"}, {syscall.SIGHUP, "hup"}, {syscall.SIGQUIT, "quit"}} {
		run.signal(s.sig)
		run.await(s.said)
	}
	run.signal(syscall.SIGTERM)
	if got := run.end(); got.code != 5 || got.errs != "" || !strings.HasSuffix(got.out, "term\n") {
		t.Errorf("%+v", got)
	}
	if got := p.read(filepath.Join(volume, "state")); got != "saved\n" {
		t.Errorf("state is %q", got)
	}
}

func TestWhatIgnoresTERMIsKilledWithinTheGrace(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	volume := c.mount("ws", ws)
	c.plan.Grace = time.Second
	run := c.start("/bin/sh", "-c", "trap '' TERM; cd "+ws+"; (trap '' TERM; while :; do sleep 0.05; done) & echo x > f; echo ready; wait; while :; do sleep 0.05; done")
	run.await("ready")
	begun := time.Now()
	run.signal(syscall.SIGTERM)
	if got := run.end(); got != (result{137, "ready\n", ""}) {
		t.Errorf("%+v", got)
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("it was killed after %s, before its grace was over", took)
	}
	if got := p.read(filepath.Join(volume, "f")); got != "x\n" {
		t.Errorf("f is %q", got)
	}
}

func TestATERMBeforeTheCommandRuns(t *testing.T) {
	p := newPod(t)
	p.server.Stop()
	c := p.container("main")
	c.env = []string{"OUTRIGGER_DEBUG=1"}
	run := c.start("true")
	await(t, "the relay has begun, and listens", func() bool {
		_, errs := run.said()
		return strings.Contains(errs, "handed")
	})
	run.signal(syscall.SIGUSR1) // says nothing about ending
	run.signal(syscall.SIGTERM)
	if got := run.end(); got.code != 143 {
		t.Errorf("%+v", got)
	}
}

func TestALostConnectionLosesNothing(t *testing.T) {
	p := newPod(t)
	c := p.container("main")
	run := c.start("/bin/sh", "-c", "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.05; done; exit 6")
	run.await("line 5\n")
	p.server.Kill()
	got := run.end()
	var want strings.Builder
	for i := range 40 {
		want.WriteString("line " + itoa(i) + "\n")
	}
	if got.code != 6 || got.out != want.String() {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(got.errs, "outrigger: the connection to the machine is lost") || !strings.Contains(got.errs, "outrigger: the connection to the machine is back") {
		t.Errorf("stderr: %q", got.errs)
	}
}

func TestAMachineThatIsGone(t *testing.T) {
	p := newPod(t)
	c := p.container("main")
	c.env = []string{"OUTRIGGER_ABSENCE=1s"}
	run := c.start("/bin/sh", "-c", "echo ready; sleep 600")
	run.await("ready")
	p.server.Stop()
	p.server.Kill()
	if got := run.end(); got.code != 125 || !strings.Contains(got.errs, "no way back to the machine") {
		t.Errorf("%+v", got)
	}
}
