package pods

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// The limits of a pool that does not say them, as the API has them.
const (
	defaultSchedule = 15 * time.Minute
	defaultKeep     = 24 * time.Hour
	defaultResults  = 2 * time.Hour
	keptShare       = 4 // one in so many of a pool's machines may be kept
)

// limits are what the claim's pool sets. The machines that it keeps are counted only if that counts: a pool may have
// thousands of claims.
func (r *reconciler) limits(ctx context.Context, c *v1alpha1.MachineClaim, counts bool) (Limits, error) {
	var p v1alpha1.MachinePool
	if err := r.client.Get(ctx, client.ObjectKey{Name: c.Spec.Pool}, &p); client.IgnoreNotFound(err) != nil {
		return Limits{}, err
	}
	if !counts {
		return limitsOf(p.Spec, 0), nil
	}
	var all v1alpha1.MachineClaimList
	if err := r.client.List(ctx, &all, client.MatchingFields{byPool: c.Spec.Pool}, client.UnsafeDisableDeepCopy); err != nil {
		return Limits{}, err
	}
	kept := 0
	for i := range all.Items {
		if other := &all.Items[i]; other.UID != c.UID && isKept(other) {
			kept++
		}
	}
	return limitsOf(p.Spec, kept), nil
}

// limitsOf are a pool's, of which so many machines are kept already.
func limitsOf(p v1alpha1.MachinePoolSpec, kept int) Limits {
	l := Limits{Schedule: or(p.ScheduleTimeout, defaultSchedule), Keep: defaultKeep, Results: defaultResults}
	most, said := max(1, int(p.Max)/keptShare), false
	if k := p.Keep; k != nil {
		l.Keep, l.Results = or(k.MaxDuration, defaultKeep), or(k.Results, defaultResults)
		if said = k.Max != nil; said {
			most = int(*k.Max)
		}
	}
	if kept >= most {
		l.FullOfResults = fmt.Sprintf("the pool keeps %d machines already, and at most %d", kept, most)
	}
	switch {
	case l.Keep <= 0:
		l.Full = "the pool's keep.maxDuration is 0"
	case said:
		l.Full = l.FullOfResults
	}
	return l
}

func or(d *metav1.Duration, unset time.Duration) time.Duration {
	if d == nil {
		return unset
	}
	return d.Duration
}

// isKept tells whether a claim keeps its machine though its holder has ended.
func isKept(c *v1alpha1.MachineClaim) bool {
	kept := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ClaimConditionReleased)
	return c.Status.Phase == v1alpha1.ClaimBound && kept != nil && kept.Reason == reasonKept
}
