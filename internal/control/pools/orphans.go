package pools

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/machine"
)

// endOrphans deletes machines that have no object. An object is made before its machine and ends after it, so there
// is nobody whom the machine could serve. They are deleted when that was seen for as long as grace, and more than once;
// if it is more than a fifth of what the provider has, objects may have been lost, as by a restored backup of the
// API server, and somebody may use the machines: that waits for longer, and is told. 0: the pool goes, and all with it.
func (s *survey) endOrphans(
	ctx context.Context, p *v1alpha1.MachinePool, place Place, all []machine.Machine, grace time.Duration,
) error {
	var errs []error
	var orphans []machine.Machine
	for _, m := range all {
		if m.State == machine.Deleting {
			continue
		}
		is, err := s.isOrphan(ctx, m)
		errs = append(errs, err)
		switch {
		case is:
			orphans = append(orphans, m)
		case err == nil:
			s.stats.noOrphan(string(m.Name))
		}
	}
	many := len(orphans) > mayBeIll(len(all))
	if many && grace > 0 {
		grace = max(grace, s.Times.LoneToleration)
		s.event(p, warning, "OrphansKept", fmt.Sprintf(
			"%d of %d machines at the provider have no Machine object, %s is one; they are deleted after %s",
			len(orphans), len(all), orphans[0].Name, grace))
	}
	for _, m := range orphans {
		if grace > 0 && s.now().Sub(s.stats.orphan(string(m.Name))) < grace {
			continue
		}
		errs = append(errs, s.endOrphan(ctx, p, place, m))
	}
	return errors.Join(errs...)
}

// isOrphan tells whether a machine has no object; the API server itself says so.
func (s *survey) isOrphan(ctx context.Context, m machine.Machine) (bool, error) {
	if s.view.machine(string(m.Name)) != nil {
		return false, nil
	}
	err := s.live.Get(ctx, client.ObjectKey{Name: string(m.Name)}, &v1alpha1.Machine{})
	return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
}

func (s *survey) endOrphan(ctx context.Context, p *v1alpha1.MachinePool, place Place, m machine.Machine) error {
	limit, cancel := context.WithTimeout(ctx, s.Times.Call)
	defer cancel()
	if err := place.Delete(limit, m.Name); err != nil {
		return fmt.Errorf("orphan %s: %w", m.Name, err)
	}
	s.stats.noOrphan(string(m.Name))
	s.meters.orphaned(p.Name)
	s.Log.Info("orphan deleted", "pool", p.Name, "machine", m.Name)
	note := fmt.Sprintf("Deleted machine %s at the provider: no object was about it", m.Name)
	s.event(p, warning, "OrphanDeleted", note)
	return nil
}
