package cloud

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
)

// A Readier makes the cloud's machines ready: nothing runs there, so there is nothing to do
// but to take the time that it takes.
type Readier struct {
	Takes time.Duration // at most
	Fails float64       // of all calls, 0 to 1

	Checks   atomic.Int64 // health checks made
	Sick     atomic.Pointer[string]
	Releases atomic.Int64
}

func (r *Readier) trip(ctx context.Context) error {
	if r.Takes > 0 {
		select {
		case <-time.After(rand.N(r.Takes)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if rand.Float64() < r.Fails {
		return fault.New(fault.Unreachable, "ssh: connection refused")
	}
	return nil
}

// Answers implements pools.Readier.
func (r *Readier) Answers(ctx context.Context, _ machine.Endpoint) error { return r.trip(ctx) }

// Prepare implements pools.Readier.
func (r *Readier) Prepare(ctx context.Context, w pools.Work) (pools.Prepared, error) {
	m := w.Machine
	c := handoff.Claim{Version: handoff.Version, Owner: m.Owner, Machine: m.Name, Platform: m.Platform, Endpoint: m.Endpoint, Key: "key 0"}
	return pools.Prepared{Claim: c, Session: "ssh", Conditions: []pools.Finding{{Type: v1alpha1.MachineDisk, OK: true, Reason: "Room"}}}, r.trip(ctx)
}

// Check implements pools.Readier.
func (r *Readier) Check(ctx context.Context, c handoff.Claim) error {
	r.Checks.Add(1)
	if sick := r.Sick.Load(); sick != nil && *sick == string(c.Machine) {
		return fault.New(fault.Unreachable, "machine %s: no route to host", c.Machine)
	}
	return nil
}

// Release implements pools.Readier.
func (r *Readier) Release(ctx context.Context, c handoff.Claim, _ pools.Work, _ bool) (handoff.Claim, error) {
	r.Releases.Add(1)
	c.Key += "+"
	return c, r.trip(ctx)
}

// Leave implements pools.Readier. The cloud's machines do not last, so nobody calls it.
func (r *Readier) Leave(ctx context.Context, _ pools.Work, _ *handoff.Claim) error {
	return r.trip(ctx)
}

// Places implements pools.Places: every pool's machines are in the cloud.
type Places struct{ Cloud *Cloud }

// Open implements pools.Places.
func (p Places) Open(_ *v1alpha1.MachinePool, _, _ *corev1.Secret) (pools.Place, error) {
	return pools.Place{Provider: p.Cloud}, nil
}
