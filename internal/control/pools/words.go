package pools

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/pool"
	"outrigger.dev/outrigger/internal/sanitize"
)

// reasonNoImage is what pools and their claims say while no image is built to make machines of.
const reasonNoImage = string(pool.ReasonNoImage)

const (
	normal  = corev1.EventTypeNormal
	warning = corev1.EventTypeWarning
)

// noteMost is what an event's note may hold (events.k8s.io/v1, Event.note).
const noteMost = 1024

func (c *core) event(o runtime.Object, kind, reason, note string) {
	c.events.Eventf(o, nil, kind, reason, reason, "%s", sanitize.Text(note, noteMost))
}

// onClaim says something of a claim, on the claim and on the Pod that it is for.
func (h *herald) onClaim(c *v1alpha1.MachineClaim, kind, reason, note string) {
	h.event(c, kind, reason, note)
	if who := c.Spec.Holder; who != nil {
		h.event(&corev1.ObjectReference{APIVersion: "v1", Kind: who.Kind, Namespace: c.Namespace, Name: who.Name, UID: types.UID(who.UID)}, kind, reason, note)
	}
}

// How exactly claims are told where they stand.
const (
	exactly  = 20               // the first so many: always
	afterAll = 30 * time.Second // all others: so long after they were told last
)

// notable tells whether the claim's status differs from w, and whether that must be
// written now; told is how long ago it was last.
func notable(c *v1alpha1.MachineClaim, w pool.Waiting, told time.Duration) (change, due bool) {
	next := c.DeepCopy()
	describe(next, w)
	was, is := int(c.Status.Position), w.Position
	reason := reasonOf(c) != reasonOf(next)
	switch {
	case c.Status.Phase == "" || reason:
		return true, true
	case w.Reason == pool.ReasonNoImage && messageOf(c) != messageOf(next): // how the build stands is all that there is to say
		return true, true
	case was == is && c.Status.ExpectedWait == next.Status.ExpectedWait:
		return false, false
	case was != is && (is <= exactly || 4*max(was-is, is-was) > was):
		return true, true
	}
	return true, told >= afterAll
}

func reasonOf(c *v1alpha1.MachineClaim) string {
	if x := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ClaimConditionBound); x != nil {
		return x.Reason
	}
	return ""
}

func messageOf(c *v1alpha1.MachineClaim) string {
	if x := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ClaimConditionBound); x != nil {
		return x.Message
	}
	return ""
}

// describe puts w into the claim's status.
func describe(c *v1alpha1.MachineClaim, w pool.Waiting) {
	st := &c.Status
	st.Phase, st.Position, st.ExpectedWait = v1alpha1.ClaimQueued, int32(w.Position), about(w.Wait)
	meta.SetStatusCondition(&st.Conditions, metav1.Condition{
		Type: v1alpha1.ClaimConditionBound, Status: metav1.ConditionFalse, ObservedGeneration: c.Generation,
		Reason: string(w.Reason), Message: clip(w.Message),
	})
}

func waitingNote(c *v1alpha1.MachineClaim, w pool.Waiting, of int) string {
	if w.Position == 0 {
		return fmt.Sprintf("Waits for a machine of pool %s: %s", c.Spec.Pool, w.Message)
	}
	note := fmt.Sprintf("Waits for a machine of pool %s: %d of %d in the queue: %s", c.Spec.Pool, w.Position, of, w.Message)
	if w.Wait > 0 {
		note += "; expected wait " + about(w.Wait)
	}
	return note
}

// about says a duration as roughly as it is known.
func about(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Minute:
		return fmt.Sprintf("about %ds", max(5, int(d.Round(5*time.Second)/time.Second)))
	case d < 10*time.Minute:
		return fmt.Sprintf("about %dm", int(d.Round(time.Minute)/time.Minute))
	case d < time.Hour:
		return fmt.Sprintf("about %dm", int(d.Round(5*time.Minute)/time.Minute))
	}
	return fmt.Sprintf("about %dh", int(d.Round(time.Hour)/time.Hour))
}

// poolStatus fills in the pool's status.
func (h *herald) poolStatus(p *v1alpha1.MachinePool, machines []*v1alpha1.Machine, queued int) {
	st := &p.Status
	st.ObservedGeneration = p.Generation
	st.Machines, st.Idle, st.Leased, st.Starting, st.Failed, st.Queued = int32(len(machines)), 0, 0, 0, 0, int32(queued)
	for _, m := range machines {
		switch phase := phaseOf(m); {
		case phase == v1alpha1.MachineFailed:
			st.Failed++
		case phase == v1alpha1.MachineIdle && m.Spec.Claim == nil:
			st.Idle++
		case phase == v1alpha1.MachineIdle, phase == v1alpha1.MachineLeased, phase == v1alpha1.MachineReleasing:
			st.Leased++
		case phase != v1alpha1.MachineDeleting:
			st.Starting++
		}
	}
	start, lease := h.stats.times(p)
	st.StartTime, st.LeaseTime = roughly(start), roughly(lease)
	failures, until, trouble := h.stats.trouble(p)
	st.Failures, st.BackoffUntil = int32(failures), nil
	if failures > 0 && !until.IsZero() {
		st.BackoffUntil = &metav1.Time{Time: until.Truncate(time.Second)}
	}
	h.poolConditions(p, h.stats.kind(p), trouble)
	// A controller that has just begun does not know yet whether what was ill still is.
	unsure := slices.ContainsFunc(machines, func(m *v1alpha1.Machine) bool {
		return phaseOf(m) == v1alpha1.MachineIdle && m.Spec.Claim == nil && !h.stats.checks.get(m.UID).looked
	})
	if unsure && meta.IsStatusConditionFalse(st.Conditions, v1alpha1.PoolMachinesHealthy) {
		return
	}
	ok, reason, message := h.healthCondition(p)
	setCondition(p, v1alpha1.PoolMachinesHealthy, ok, reason, message)
}

func setCondition(p *v1alpha1.MachinePool, name string, ok bool, reason, message string) {
	meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{
		Type: name, Status: status(ok), ObservedGeneration: p.Generation, Reason: reason, Message: clip(message),
	})
}

// roughly is a duration that does not change with every machine; nil: unknown.
func roughly(d time.Duration) *metav1.Duration {
	switch {
	case d <= 0:
		return nil
	case d < 10*time.Second:
		return &metav1.Duration{Duration: max(100*time.Millisecond, d.Round(100*time.Millisecond))}
	}
	return &metav1.Duration{Duration: d.Round(time.Second)}
}

func (h *herald) poolConditions(p *v1alpha1.MachinePool, kind fault.Kind, trouble string) {
	set := func(name string, ok bool, reason, message string) {
		setCondition(p, name, ok, reason, message)
	}
	st := p.Status
	healthy := kind == "" || kind == fault.NoCapacity
	if err := h.stats.surveyError(p); healthy && err != nil {
		set(v1alpha1.PoolProviderHealthy, false, string(kindOf(err)), err.Error())
	} else if healthy {
		set(v1alpha1.PoolProviderHealthy, true, "Answers", "")
	} else {
		set(v1alpha1.PoolProviderHealthy, false, string(kind), trouble)
	}
	if end := h.stats.tokenEnd(p); !end.IsZero() {
		ok, reason, message := tokenCondition(end, h.now())
		set(v1alpha1.PoolTokenValid, ok, reason, message)
	} else {
		meta.RemoveStatusCondition(&p.Status.Conditions, v1alpha1.PoolTokenValid)
	}
	noImage := h.imageCondition(p, set)
	switch {
	case kind == fault.NoCapacity:
		set(v1alpha1.PoolCapacity, false, string(kind), trouble)
	case st.Machines >= p.Spec.Max:
		set(v1alpha1.PoolCapacity, false, "AtMax", fmt.Sprintf("there are %d machines, max is %d", st.Machines, p.Spec.Max))
	default:
		set(v1alpha1.PoolCapacity, true, "Room", "")
	}
	serving := st.Idle+st.Leased > 0
	switch {
	case !p.DeletionTimestamp.IsZero():
		set(v1alpha1.PoolReady, false, "Deleting", h.leftOf(p))
	case serving && st.Idle > 0, serving && st.Queued == 0:
		set(v1alpha1.PoolReady, true, "Serving", "")
	case serving && healthy:
		set(v1alpha1.PoolReady, true, "Busy", "")
	case kind != "":
		set(v1alpha1.PoolReady, false, string(kind), trouble)
	case st.Starting > 0:
		set(v1alpha1.PoolReady, false, "Starting", "no machine is ready yet")
	case noImage != "":
		set(v1alpha1.PoolReady, false, reasonNoImage, noImage)
	case p.Spec.Max == 0:
		set(v1alpha1.PoolReady, false, "NoMachines", "max is 0")
	case p.Spec.Warm != nil && *p.Spec.Warm == 0:
		set(v1alpha1.PoolReady, true, "OnDemand", "")
	default:
		set(v1alpha1.PoolReady, false, string(pool.ReasonStarting), "no machine is ready yet")
	}
}

// leftOf says what a pool that is being deleted waits for.
func (h *herald) leftOf(p *v1alpha1.MachinePool) string {
	text := fmt.Sprintf("%d machines are left", p.Status.Machines)
	if err := h.stats.surveyError(p); err != nil {
		text += "; the provider cannot be asked what it has: " + err.Error()
	}
	return text
}

// kindOf is the kind of a provider's error: one that gave none did not answer as it should.
func kindOf(err error) fault.Kind {
	if kind := fault.Of(err); kind != fault.Internal {
		return kind
	}
	return fault.ProviderDown
}

func sameStatus(a, b *v1alpha1.MachinePool) bool {
	return equality.Semantic.DeepEqual(a.Status, b.Status)
}
