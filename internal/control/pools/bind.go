package pools

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/pool"
)

// errIll says that a machine was not bound because it does not serve: what was decided is decided again.
var errIll = errors.New("the machine does not serve")

// bind gives a machine that serves to a claim: by one write, which fails if the machine is
// not as it was when that was decided. Then the claim is told.
func (s *scheduler) bind(
	ctx context.Context, p *v1alpha1.MachinePool, m *v1alpha1.Machine, cl *v1alpha1.MachineClaim,
) error {
	if ok, err := s.serves(ctx, p, m); err != nil {
		return err
	} else if !ok {
		return errIll
	}
	m = m.DeepCopy()
	m.Spec.Claim = &v1alpha1.ClaimReference{Namespace: cl.Namespace, Name: cl.Name, UID: string(cl.UID)}
	if err := s.client.Update(ctx, m); err != nil {
		return err
	}
	s.view.wroteMachines.wrote(m)
	return s.bound(ctx, m, cl)
}

// bound tells a claim of its machine. The claim's word for its machine is never
// changed: of two machines that a claim has, that one counts.
func (s *scheduler) bound(ctx context.Context, m *v1alpha1.Machine, cl *v1alpha1.MachineClaim) error {
	cl = cl.DeepCopy()
	now := metav1.NewTime(s.now())
	st := &cl.Status
	st.Phase, st.Machine, st.BoundAt, st.Position, st.ExpectedWait = v1alpha1.ClaimBound, m.Name, &now, 0, ""
	meta.SetStatusCondition(&st.Conditions, metav1.Condition{
		Type: v1alpha1.ClaimConditionBound, Status: metav1.ConditionTrue, ObservedGeneration: cl.Generation,
		Reason: "Bound", Message: "machine " + m.Name,
	})
	if err := s.client.Status().Update(ctx, cl); err != nil {
		return err
	}
	s.view.wroteClaims.wrote(cl)
	wait := now.Sub(cl.CreationTimestamp.Time)
	s.meters.bound(cl.Spec.Pool, wait)
	s.Log.Info("claim bound", "pool", cl.Spec.Pool, "claim", key(cl), "machine", m.Name, "waited", wait.Round(time.Millisecond))
	s.herald.onClaim(cl, normal, "Bound", fmt.Sprintf("Got machine %s of pool %s after %s", m.Name, cl.Spec.Pool, wait.Round(100*time.Millisecond)))
	return nil
}

// mend tells claims of machines that they have without knowing, since whoever
// bound them ended in between.
func (s *scheduler) mend(ctx context.Context, machines []*v1alpha1.Machine) error {
	var errs []error
	for _, m := range machines {
		ref := m.Spec.Claim
		if ref == nil || phaseOf(m) != v1alpha1.MachineIdle && phaseOf(m) != v1alpha1.MachineLeased {
			continue
		}
		cl := s.view.claim(ref.Namespace, ref.Name)
		if cl == nil || string(cl.UID) != ref.UID || !isQueued(cl) || cl.Status.Machine != "" {
			continue
		}
		errs = append(errs, s.bound(ctx, m, cl))
	}
	return errors.Join(errs...)
}

// order makes the object of a machine. Its name is the machine's at the
// provider: from here on the machine cannot be lost.
func (s *scheduler) order(ctx context.Context, p *v1alpha1.MachinePool, x pool.Creation) error {
	m := &v1alpha1.Machine{
		ObjectMeta: metav1.ObjectMeta{
			Name:   string(machine.NewName(prefix(p.Name))),
			Labels: map[string]string{v1alpha1.LabelPool: p.Name},
		},
		Spec: v1alpha1.MachineSpec{Pool: p.Name, Image: x.Image},
	}
	if x.For != "" {
		m.Annotations = map[string]string{v1alpha1.AnnotationMadeFor: x.For}
	}
	controllerutil.AddFinalizer(m, v1alpha1.FinalizerMachine)
	if err := s.client.Create(ctx, m); err != nil {
		return err
	}
	s.view.wroteMachines.wrote(m)
	s.Log.Info("machine ordered", "pool", p.Name, "machine", m.Name, "image", x.Image)
	return nil
}

// nameRoom is how long a pool's name may be in the name of a machine: a DNS label has 63,
// of which "-" and eight random characters are ours.
const nameRoom = 63 - 9

func prefix(pool string) string {
	out := make([]byte, 0, len(pool))
	for _, b := range []byte(pool) {
		if b == '.' { // allowed in names of objects, not in a label
			b = '-'
		}
		out = append(out, b)
	}
	return string(out[:min(len(out), nameRoom)])
}

// discard marks a machine that nobody has for deletion.
func (s *scheduler) discard(ctx context.Context, m *v1alpha1.Machine, why pool.Why) error {
	err := s.setStatus(ctx, m, func(st *v1alpha1.MachineStatus) {
		st.Phase = v1alpha1.MachineDeleting
		notReady(m, st, string(why), "")
	})
	if err == nil {
		s.Log.Info("machine no longer wanted", "pool", m.Spec.Pool, "machine", m.Name, "why", why)
		s.meters.discarded(m.Spec.Pool, string(why))
	}
	return err
}
