package gc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/workspace"
)

// leases ends the expired leases on machines that stay: a run on such a machine
// that was killed leaves its folder there, and no deletion of the machine takes it.
func (s *sweeper) leases(ctx context.Context, l *ledger.Ledger) error {
	recs, err := l.List()
	errs := []error{err}
	for _, rec := range recs {
		if !rec.Keep || rec.Expired(s.app.IO.Now()) || ctx.Err() != nil {
			continue
		}
		n, err := s.leasesOn(ctx, l, rec)
		if n > 0 {
			why := fmt.Sprintf("expired on machine %s", rec.Name)
			s.items = append(s.items, Item{Kind: kindLease, Name: string(rec.Name), Provider: rec.Provider, Why: why, Count: n, DryRun: s.dryRun})
		}
		if err != nil {
			errs = append(errs, app.AtMachine(rec.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *sweeper) leasesOn(ctx context.Context, l *ledger.Ledger, rec ledger.Record) (ended int, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseLimit)
	defer cancel()
	entry, err := l.Hold(rec.Name, true)
	if fault.Is(err, fault.Busy) || fault.Is(err, fault.UnknownMachine) {
		return 0, nil // on its way out
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, entry.Release()) }()
	_, p, err := s.app.Provider(ctx, rec.Provider)
	if err != nil {
		return 0, err
	}
	m, err := p.Get(ctx, rec.Name)
	if err != nil || m.State != machine.Running {
		return 0, err
	}
	h, err := s.app.Dial(ctx, p, m, 0)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	return s.endExpired(ctx, h)
}

func (s *sweeper) endExpired(ctx context.Context, h *host.Host) (ended int, err error) {
	var list wire.LeaseList
	if err := h.Call(ctx, wire.MethodLeaseList, struct{}{}, &list); err != nil {
		return 0, err
	}
	for _, lease := range list.Leases {
		if !expired(lease, s.app.IO.Now()) {
			continue
		}
		if !s.dryRun {
			if err := h.Call(ctx, wire.MethodLeaseRelease, wire.LeaseRelease{Name: lease.Name}, nil); err != nil {
				return ended, err
			}
		}
		ended++
	}
	return ended, nil
}

func expired(l wire.Lease, now time.Time) bool {
	return l.Releasing || !l.Expires.IsZero() && now.After(l.Expires)
}

// workspaces removes the temporary files that killed runs left in people's
// folders, and what is remembered of machines that are gone.
func (s *sweeper) workspaces(ctx context.Context, l *ledger.Ledger) error {
	if s.dryRun {
		return nil // a look at them is a change of them
	}
	dirs, err := s.app.Dirs()
	if err != nil {
		return err
	}
	swept, err := workspace.Sweep(ctx, dirs.State, func(name machine.Name) bool {
		_, err := l.Get(name)
		return !fault.Is(err, fault.UnknownMachine)
	})
	if swept.TempFiles > 0 {
		s.items = append(s.items, Item{Kind: kindTempFile, Why: "left by a killed run", Count: swept.TempFiles})
	}
	if swept.Workspaces > 0 {
		s.items = append(s.items, Item{Kind: kindWorkspace, Why: "its machine is gone", Count: swept.Workspaces})
	}
	return err
}
