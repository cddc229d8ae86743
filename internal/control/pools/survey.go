package pools

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
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

// last deletes whatever a pool that is going has left at its provider. A provider that cannot even be opened gets as
// long as a machine that looks ill: a Secret may be made again, and what was left is paid for.
func (s *survey) last(ctx context.Context, p *v1alpha1.MachinePool) error {
	err := s.look(ctx, p, 0)
	if fault.Is(err, fault.Config) && s.now().Sub(p.DeletionTimestamp.Time) >= s.Times.Toleration {
		s.event(p, warning, "ProviderNotAsked", "the pool goes without a last look at its provider: "+err.Error())
		err = nil
	}
	if err == nil {
		s.stats.forgetPool(p)
		s.meters.forget(p.Name)
	}
	return err
}

// look compares one pool.
func (s *survey) look(ctx context.Context, p *v1alpha1.MachinePool, grace time.Duration) error {
	s.herald.dirty(p.Name) // a token may have come close to its end
	place, err := s.place(ctx, p)
	if err != nil {
		s.stats.surveyed(p, err)
		return err
	}
	before := s.now()
	limit, cancel := context.WithTimeout(ctx, s.Times.Call)
	defer cancel()
	all, err := place.List(limit, s.owner(p.Name)) // some, with an error, is better than none
	if ctx.Err() != nil {
		return ctx.Err()
	}
	errs := []error{err, s.endOrphans(ctx, p, place, all, grace)}
	var partial *provider.PartialError
	if err != nil && !errors.As(err, &partial) {
		s.stats.surveyed(p, err)
		return errors.Join(errs...) // then nothing is known of what is not in the list
	}
	s.stats.surveyed(p, nil)
	there := map[string]machine.Machine{}
	for _, m := range all {
		there[string(m.Name)] = m
	}
	var missing []*v1alpha1.Machine
	objects, _ := s.view.machinesOf(p.Name)
	for _, m := range objects {
		phase := phaseOf(m)
		if phase != v1alpha1.MachineIdle && phase != v1alpha1.MachineLeased || since(m).After(before) {
			continue // whoever works on it will find out, or has
		}
		if partial != nil && isAt(m, partial.Unseen) {
			continue
		}
		gone, err := s.isMissing(ctx, p, place, m, there)
		errs = append(errs, err)
		if gone {
			missing = append(missing, m)
		}
	}
	// All are looked at before one is judged: whether many are missing decides.
	for _, m := range missing {
		errs = append(errs, s.lost(ctx, p, m))
	}
	return errors.Join(errs...)
}

// isAt tells whether a machine is at one of these endpoints, or nobody knows where it is.
func isAt(m *v1alpha1.Machine, places []machine.Endpoint) bool {
	at := machine.Endpoint{Host: m.Status.Address, Port: int(m.Status.Port)}.Address()
	is := func(e machine.Endpoint) bool { return e.Address() == at }
	return m.Status.Address == "" || slices.ContainsFunc(places, is)
}

// isMissing notes whether the provider has the machine of an object. List may have missed one that was being made:
// so the provider is asked for that one.
func (s *survey) isMissing(
	ctx context.Context, p *v1alpha1.MachinePool, place Place, m *v1alpha1.Machine, there map[string]machine.Machine,
) (bool, error) {
	missing := func(why string) (bool, error) {
		s.stats.listed.failed(subjectOf(p, m), s.Times.Survey, fault.New(fault.MachineLost, "%s", why))
		return true, nil
	}
	found, ok := there[m.Name]
	if !ok || found.State == machine.Failed {
		limit, cancel := context.WithTimeout(ctx, s.Times.Call)
		defer cancel()
		remind(place, m)
		var err error
		if found, err = place.Get(limit, machine.Name(m.Name)); fault.Is(err, fault.UnknownMachine) {
			return missing("the provider does not have it any more")
		} else if err != nil {
			return false, err
		}
	}
	if found.State == machine.Failed {
		return missing("the provider says that it is Failed")
	}
	s.stats.listed.passed(subjectOf(p, m), s.Times.Survey)
	return false, nil
}

// lost gives a machine up that the provider does not have any more, if it has said so for long enough.
func (s *survey) lost(ctx context.Context, p *v1alpha1.MachinePool, m *v1alpha1.Machine) error {
	if what, why := s.judge(s.stats.listed, p, m); what != givenUp {
		s.Log.Info("machine is missing", "pool", p.Name, "machine", m.Name, "kept", why)
		return nil
	}
	_, err := s.fail(ctx, m, string(fault.MachineLost), s.stats.listed.get(m.UID).words)
	if apierrors.IsConflict(err) {
		return nil // it has changed: look again next time
	}
	return err
}
