package pools

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A survey compares what providers list with the Machine objects: a machine
// without an object is deleted, an object without a machine is failed.
type survey struct{ *core }

// Start implements manager.Runnable, for the leader alone.
func (s *survey) Start(ctx context.Context) error {
	tick := time.NewTicker(s.Times.Survey)
	defer tick.Stop()
	for {
		for _, name := range s.view.poolNames() {
			p := s.view.pool(name)
			if p == nil || !p.DeletionTimestamp.IsZero() {
				continue
			}
			if err := s.look(ctx, p, s.Times.Grace); err != nil && ctx.Err() == nil {
				s.Log.Warn("survey", "pool", name, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// last deletes whatever a pool that is going has left at its provider.
func (s *survey) last(ctx context.Context, p *v1alpha1.MachinePool) error {
	err := s.look(ctx, p, 0)
	if fault.Is(err, fault.Config) { // no provider could ever be opened with that
		return nil
	}
	if err == nil {
		s.stats.forgetPool(p)
		s.meters.forget(p.Name)
	}
	return err
}

// look compares one pool.
func (s *survey) look(ctx context.Context, p *v1alpha1.MachinePool, grace time.Duration) error {
	place, err := s.place(ctx, p)
	if err != nil {
		return err
	}
	s.herald.dirty(p.Name) // a token may have come close to its end
	before := time.Now()
	limit, cancel := context.WithTimeout(ctx, s.Times.Call)
	defer cancel()
	all, err := place.List(limit, s.owner(p.Name)) // some, with an error, is better than none
	errs := []error{err}
	there := map[string]machine.Machine{}
	for _, m := range all {
		there[string(m.Name)] = m
		if time.Since(m.Created) >= grace && m.State != machine.Deleting {
			errs = append(errs, s.adoptOrEnd(ctx, p, place, m))
		}
	}
	if err == nil {
		objects, _ := s.view.machinesOf(p.Name)
		for _, m := range objects {
			errs = append(errs, s.missing(ctx, place, m, there, before))
		}
	}
	return errors.Join(errs...)
}

// adoptOrEnd deletes a machine that has no object. An object is made before its
// machine and ends after it, so there is nobody whom the machine could serve.
func (s *survey) adoptOrEnd(ctx context.Context, p *v1alpha1.MachinePool, place Place, m machine.Machine) error {
	if s.view.machine(string(m.Name)) != nil {
		return nil
	}
	err := s.live.Get(ctx, client.ObjectKey{Name: string(m.Name)}, &v1alpha1.Machine{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, s.Times.Call)
	defer cancel()
	if err := place.Delete(limit, m.Name); err != nil {
		return fmt.Errorf("orphan %s: %w", m.Name, err)
	}
	s.meters.orphaned(p.Name)
	s.Log.Info("orphan deleted", "pool", p.Name, "machine", m.Name)
	s.event(p, warning, "OrphanDeleted", fmt.Sprintf("Deleted machine %s at the provider: no object was about it", m.Name))
	return nil
}

// missing fails a machine that its provider does not have any more. List may
// have missed one that was being made: so the provider is asked for that one.
func (s *survey) missing(ctx context.Context, place Place, m *v1alpha1.Machine, there map[string]machine.Machine, before time.Time) error {
	switch phaseOf(m) {
	case v1alpha1.MachineIdle, v1alpha1.MachineLeased:
	default:
		return nil // whoever works on it will find out
	}
	if since(m).After(before) {
		return nil
	}
	if found, ok := there[m.Name]; ok && found.State != machine.Failed {
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, s.Times.Call)
	defer cancel()
	found, err := place.Get(limit, machine.Name(m.Name))
	switch {
	case fault.Is(err, fault.UnknownMachine):
		_, err = s.fail(ctx, m, string(fault.MachineLost), "the provider does not have it any more")
	case err == nil && found.State == machine.Failed:
		_, err = s.fail(ctx, m, string(fault.MachineLost), "the provider says that it is Failed")
	}
	if apierrors.IsConflict(err) {
		return nil // it has changed: look again next time
	}
	return err
}
