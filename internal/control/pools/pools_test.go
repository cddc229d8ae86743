//go:build linux

package pools_test

import (
	"testing"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
)

// A machine is warm, a claim gets it, another takes its place, and after the claim it is deleted.
func TestOneClaim(t *testing.T) {
	w := newWorld(t)
	w.control(pools.Times{})
	w.makePool(1, 3, nil)
	w.eventually("one machine is idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 1 })
	warm := w.machines()[0].Name

	c := w.claim("c", nil)
	w.eventually("the claim is bound", func() bool { return w.boundTo(c) != "" })
	if c.Status.Machine != warm {
		t.Errorf("bound to %s; want the warm machine %s", c.Status.Machine, warm)
	}
	t.Logf("bound after %s", c.Status.BoundAt.Sub(c.CreationTimestamp.Time))
	w.eventually("another is idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 1 && w.inPhase(v1alpha1.MachineLeased) == 1 })

	w.end(c)
	w.eventually("the machine is gone", func() bool { return len(w.machines()) == 1 && w.cloud.Count() == 1 })
	if got := w.machines()[0].Name; got == warm {
		t.Errorf("machine %s serves again; the policy is Never", got)
	}
}
