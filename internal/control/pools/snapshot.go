package pools

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/pool"
)

// snapshot puts what is known of a pool into the planner's words. The claims that it
// returns are those of the snapshot, in the same order.
func (c *core) snapshot(p *v1alpha1.MachinePool, machines []*v1alpha1.Machine, claims []*v1alpha1.MachineClaim) (pool.Snapshot, []*v1alpha1.MachineClaim) {
	s := pool.Snapshot{Now: c.now(), Pool: c.planned(p), Machines: make([]pool.Machine, 0, len(machines))}
	held := make(map[string]bool, len(machines))
	for _, m := range machines {
		planned := plannedMachine(s.Pool, m, s.Now)
		planned.Suspect = planned.Suspect || c.looksIll(m)
		s.Machines = append(s.Machines, planned)
		if m.Spec.Claim != nil {
			held[m.Spec.Claim.UID] = true
		}
	}
	var waiting []*v1alpha1.MachineClaim
	for _, cl := range claims {
		if !isQueued(cl) || held[string(cl.UID)] {
			continue
		}
		waiting = append(waiting, cl)
		s.Claims = append(s.Claims, pool.Claim{
			UID: string(cl.UID), Namespace: cl.Namespace, Name: cl.Name,
			Image: cl.Spec.Image, Fresh: cl.Spec.Fresh, Priority: priorityOf(p, cl), Created: cl.CreationTimestamp.Time,
		})
	}
	return s, waiting
}

// priorityOf is a claim's priority, as far as its pool allows it.
func priorityOf(p *v1alpha1.MachinePool, cl *v1alpha1.MachineClaim) int {
	var most int32 // whoever may use a pool would go before all others
	if p.Spec.MaxPriority != nil {
		most = *p.Spec.MaxPriority
	}
	return int(min(cl.Spec.Priority, most))
}

// isQueued tells whether a claim waits for a machine.
func isQueued(c *v1alpha1.MachineClaim) bool {
	return c.DeletionTimestamp.IsZero() && (c.Status.Phase == "" || c.Status.Phase == v1alpha1.ClaimQueued)
}

// planned is the pool in the planner's words.
func (c *core) planned(p *v1alpha1.MachinePool) pool.Pool {
	out := pool.Pool{
		Warm: 1, Max: int(p.Spec.Max), MaxCreating: int(p.Spec.MaxCreating),
		Closing: !p.DeletionTimestamp.IsZero(),
	}
	out.Image, out.NoImage = c.view.imageOf(p)
	if p.Spec.Warm != nil {
		out.Warm = int(*p.Spec.Warm)
	}
	out.Warm = min(out.Warm, out.Max)
	if r := p.Spec.Reuse; r != nil {
		out.Reuse = policyOf(p) != v1alpha1.ReuseNever
		out.MaxUses = int(r.MaxUses)
		if r.MaxAge != nil {
			out.MaxAge = r.MaxAge.Duration
		}
	}
	out.StartTime, out.LeaseTime = c.stats.times(p)
	out.Failures, out.BackoffUntil, out.Trouble = c.stats.trouble(p)
	return out
}

// policyOf is the pool's reuse policy.
func policyOf(p *v1alpha1.MachinePool) v1alpha1.ReusePolicy {
	if p.Spec.Reuse == nil || p.Spec.Reuse.Policy == "" {
		return v1alpha1.ReuseNever
	}
	return p.Spec.Reuse.Policy
}

func phaseOf(m *v1alpha1.Machine) v1alpha1.MachinePhase {
	if m.Status.Phase == "" {
		return v1alpha1.MachinePending
	}
	return m.Status.Phase
}

// phases are the planner's words for a machine's phase.
var phases = map[v1alpha1.MachinePhase]pool.Phase{
	v1alpha1.MachinePending:   pool.Creating,
	v1alpha1.MachineCreating:  pool.Creating,
	v1alpha1.MachineBooting:   pool.Booting,
	v1alpha1.MachinePreparing: pool.Booting,
	v1alpha1.MachineIdle:      pool.Idle,
	v1alpha1.MachineLeased:    pool.Leased,
	v1alpha1.MachineReleasing: pool.Releasing,
	v1alpha1.MachineDeleting:  pool.Deleting,
	v1alpha1.MachineFailed:    pool.Deleting,
}

func plannedMachine(p pool.Pool, m *v1alpha1.Machine, now time.Time) pool.Machine {
	out := pool.Machine{
		Name: m.Name, Phase: phases[phaseOf(m)], Image: m.Spec.Image, For: m.Annotations[v1alpha1.AnnotationMadeFor],
		Created: m.CreationTimestamp.Time, Since: since(m), Uses: int(m.Status.Uses),
		Suspect: meta.IsStatusConditionFalse(m.Status.Conditions, v1alpha1.MachineReachable),
	}
	switch {
	case !m.DeletionTimestamp.IsZero():
		out.Phase = pool.Deleting
	case out.Phase == pool.Idle && m.Spec.Claim != nil:
		out.Phase, out.Since = pool.Leased, now // bound just now
	}
	if m.Spec.Claim != nil {
		out.Namespace = m.Spec.Claim.Namespace
	}
	if out.Phase == pool.Releasing {
		after := out
		after.Uses++
		out.Returns = p.Reuse && out.For == "" && !pool.Outdated(p, after, now)
	}
	return out
}

// since is when the machine came into its phase.
func since(m *v1alpha1.Machine) time.Time {
	if m.Status.PhaseSince == nil {
		return m.CreationTimestamp.Time
	}
	return m.Status.PhaseSince.Time
}
