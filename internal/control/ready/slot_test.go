//go:build linux

package ready_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/macshell"
)

// say executes a command on a claim's machine.
func (w *world) say(c handoff.Claim, command string) (string, int) {
	w.Helper()
	conn, err := reach.Dial(w.Context(), c.Reach(), reach.Options{})
	w.must(err)
	defer conn.Close()
	out, exit, err := conn.Output(w.Context(), "exec 2>&1; "+command, nil)
	w.must(err)
	return string(out), exit
}

// held makes a claim and returns how its machine is reached.
func (w *world) held(name string) (*v1alpha1.MachineClaim, handoff.Claim) {
	w.Helper()
	c := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: name}, Spec: v1alpha1.MachineClaimSpec{Pool: w.pool}}
	w.must(w.Create(w.Context(), c))
	w.eventually(name+" is bound", func() bool {
		w.must(w.Get(w.Context(), client.ObjectKeyFromObject(c), c))
		return c.Status.Machine != ""
	})
	var m v1alpha1.Machine
	w.must(w.Get(w.Context(), client.ObjectKey{Name: c.Status.Machine}, &m))
	return c, w.login(m)
}

func (w *world) release(c *v1alpha1.MachineClaim) {
	w.Helper()
	w.eventually(c.Name+" is released", func() bool {
		w.must(w.Get(w.Context(), client.ObjectKeyFromObject(c), c))
		now := metav1.Now()
		c.Status.Phase, c.Status.ReleasedAt = v1alpha1.ClaimReleased, &now
		return w.Status().Update(w.Context(), c) == nil
	})
}

// Claims of a host that do not trust each other have users of their own, at once and one after another.
func TestClaimsOfAHostAreKeptApart(t *testing.T) {
	host := macshell.Start(t, macshell.Options{Linux: true})
	w := newWorld(t, "apart")
	two := int32(2)
	w.macs(host, func(p *v1alpha1.MachinePoolSpec) {
		p.OS, p.Arch, p.Trust, p.Warm, p.Max = "linux", "amd64", v1alpha1.TrustNone, &two, 2
		p.Provider.SSH.Hosts[0].Slots = 2
	})
	one, first := w.held("one")
	other, second := w.held("other")
	if first.Endpoint.User == second.Endpoint.User {
		t.Fatalf("both claims run as user %s", first.Endpoint.User)
	}
	if out, exit := w.say(first, `echo secret >~/file && chmod 644 ~/file && echo 'touch /tmp/executed' >>~/.profile &&
(setsid sleep 4000 >/dev/null 2>&1 &)`); exit != 0 {
		t.Fatal(out)
	}
	if out, exit := w.say(second, "cat /home/"+first.Endpoint.User+"/file || pkill -x sleep"); exit == 0 {
		t.Errorf("the other claim has reached %s", out)
	}
	w.release(one)
	w.eventually("the first claim's machine is free again", func() bool {
		for _, m := range w.machines() {
			if m.Name == one.Status.Machine {
				return m.Status.Phase == v1alpha1.MachineIdle && m.Status.Uses == 1
			}
		}
		return false
	})
	if _, err := reach.Dial(t.Context(), first.Reach(), reach.Options{}); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("the first claim's key: got %v, want it refused", err)
	}
	next, third := w.held("next")
	if third.Endpoint.User != first.Endpoint.User {
		t.Errorf("the next claim runs as %s", third.Endpoint.User)
	}
	out, _ := w.say(third, `cat ~/file; grep /tmp/executed ~/.profile
ps -A -o uid= -o stat= -o args= | awk -v u=$(id -u) '$1 == u && $2 !~ /^Z/' | grep '[s]leep 4000'; true`)
	if !strings.HasPrefix(out, "cat: ") || strings.Count(out, "\n") != 1 {
		t.Errorf("the next claim finds\n%s", out)
	}
	if out, exit := w.say(second, "echo still here"); exit != 0 {
		t.Errorf("the other claim was disturbed: %s", out)
	}
	w.release(next)
	w.release(other)
}

// What of a claim cannot be removed keeps its slot from being used, and is said.
func TestSlotThatIsNotCleanIsNotIdle(t *testing.T) {
	host := macshell.Start(t, macshell.Options{Sudo: macshell.SudoFree})
	w := newWorld(t, "unclean")
	w.macs(host, func(p *v1alpha1.MachinePoolSpec) { p.Trust = v1alpha1.TrustNone })
	c, login := w.held("one")
	held := "/Users/" + login.Endpoint.User + "/held"
	host.Do("mkdir " + held + " && mount --bind /usr/share " + held)
	w.release(c)
	w.eventually("the machine says what stays", func() bool {
		for _, m := range w.machines() {
			r := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.MachineReady)
			if m.Status.Phase == v1alpha1.MachineIdle {
				t.Fatal("a machine is idle")
			}
			if r != nil && r.Status == metav1.ConditionFalse && strings.Contains(r.Message, "held") {
				return true
			}
		}
		return false
	})
	host.Do("umount " + held)
	m := w.machine(v1alpha1.MachineIdle)
	if m.Name == c.Status.Machine {
		t.Errorf("machine %s is idle after %s", m.Name, time.Since(m.CreationTimestamp.Time))
	}
}
