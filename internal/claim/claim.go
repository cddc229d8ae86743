// Package claim takes a machine from a provider and gives it back, with the
// ledger as witness: the record is there before the machine is and goes after it,
// so a client that is killed in between leaves nothing that a sweep does
// not find.
package claim

import (
	"context"
	"fmt"
	"os"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// releaseLimit bounds the giving back of a machine, which goes on after the
// user gave up: a guess, several times what the slowest provider here takes.
const releaseLimit = time.Minute

// A Request asks for a machine.
type Request struct {
	Provider string // its configured name
	Spec     machine.Spec
	Keep     bool // it stays after this process
}

// A Claim is a machine in our hands.
type Claim struct {
	Machine machine.Machine

	provider provider.Provider
	entry    *ledger.Entry
	borrowed bool // the machine was there before us and stays
	retained bool // it outlives Release
}

// Take writes the record, then makes the machine. When making it fails,
// whatever there is of it is deleted again.
func Take(ctx context.Context, l *ledger.Ledger, p provider.Provider, req Request) (*Claim, error) {
	owner, err := l.Owner()
	if err != nil {
		return nil, err
	}
	req.Spec.Owner = owner
	entry, err := l.Add(ledger.Record{
		Name: req.Spec.Name, Provider: req.Provider, Owner: owner, Created: time.Now().UTC(), Expires: req.Spec.Expires,
		Keep: req.Keep, Image: req.Spec.Image, Client: os.Getpid(),
	})
	if err != nil {
		return nil, err
	}
	c := &Claim{provider: p, entry: entry}
	c.Machine, err = p.Create(ctx, req.Spec)
	if err != nil {
		if rerr := c.Release(ctx); rerr != nil {
			return nil, fault.New(fault.Of(err), "%w; and giving it back: %v", err, rerr)
		}
		return nil, err
	}
	return c, nil
}

// Borrow uses a machine that was made to stay, beside others who do.
func Borrow(ctx context.Context, l *ledger.Ledger, p provider.Provider, name machine.Name) (*Claim, error) {
	entry, err := l.Hold(name, true)
	if err != nil {
		return nil, err
	}
	m, err := p.Get(ctx, name)
	if err != nil {
		return nil, joinRelease(err, entry.Release())
	}
	return &Claim{Machine: m, provider: p, entry: entry, borrowed: true}, nil
}

// Retake takes a machine back whose client is gone. While others use it too, it is borrowed.
func Retake(ctx context.Context, l *ledger.Ledger, p provider.Provider, name machine.Name) (*Claim, error) {
	entry, err := l.Hold(name, false)
	if fault.Is(err, fault.Busy) {
		return Borrow(ctx, l, p, name)
	}
	if err != nil {
		return nil, err
	}
	m, err := p.Get(ctx, name)
	if err != nil {
		return nil, joinRelease(err, entry.Release())
	}
	return &Claim{Machine: m, provider: p, entry: entry}, nil
}

// Keep lets the machine outlive this process until expires.
func (c *Claim) Keep(expires time.Time) error {
	return c.entry.Update(func(r *ledger.Record) { r.Keep, r.Expires = true, expires })
}

// Retain lets the machine outlive Release, for what of a run's results is nowhere else. It is not one
// that was made to stay: a sweep removes it when the run's record has gone, or after until.
func (c *Claim) Retain(until time.Time) error {
	c.retained = true
	return c.entry.Update(func(r *ledger.Record) { r.Expires = until })
}

// Record returns what the ledger says.
func (c *Claim) Record() ledger.Record { return c.entry.Record() }

// Borrowed tells whether the machine stays after Release.
func (c *Claim) Borrowed() bool { return c.borrowed || c.entry.Record().Keep }

// Release gives the machine back: one that was made for us is deleted and its
// record removed; one that stays is let go of. It goes on after ctx is
// cancelled, since what is not given back leaks, but not for ever. When
// deleting fails the record stays, for a sweep.
func (c *Claim) Release(ctx context.Context) error {
	if c.Borrowed() || c.retained {
		return c.entry.Release()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
	defer cancel()
	name := c.entry.Record().Name
	if err := c.provider.Delete(ctx, name); err != nil {
		err = fault.New(fault.Of(err), "machine %s: delete: %w", name, err).WithRemedy("Remove it later with: outrigger gc")
		return joinRelease(err, c.entry.Release())
	}
	return c.entry.Remove()
}

func joinRelease(err, release error) error {
	if release == nil {
		return err
	}
	return fmt.Errorf("%w; and letting go of its record: %w", err, release)
}
