package app

import (
	"context"
	"os"
	"os/user"
	"time"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/reach"
)

// consoleTail is how much of a console an error shows: two screens.
const consoleTail = 4 << 10

// Dial connects to m, waiting up to boot for it to answer. A machine that was
// made and does not come up has its last words in the error.
func (a *App) Dial(ctx context.Context, p provider.Provider, m machine.Machine, boot time.Duration) (*host.Host, error) {
	agents, err := a.Agents()
	if err != nil {
		return nil, err
	}
	ctx, lost := a.DeathWatch(ctx, p, m.Name)
	lost(true) // until the first connection there is none
	defer lost(false)
	ep := m.Endpoint
	if ep.LeaseKey.Empty() { // a provider whose machines are leases has its own
		secret, err := a.leaseSecret()
		if err != nil {
			return nil, err
		}
		ep.LeaseKey = machine.LeaseKey(secret, "machine "+string(m.Name))
	}
	h, err := host.Dial(ctx, host.Config{
		Endpoint: ep, Agents: agents, Reach: reach.Options{Log: a.Log(), Tunnels: a.tunnels}, Boot: boot, Log: a.Log(),
	})
	if err == nil {
		return h, nil
	}
	if cause := context.Cause(ctx); fault.Is(cause, fault.MachineLost) {
		err = cause
	}
	return nil, WithConsole(ctx, p, m.Name, err)
}

// WithConsole adds the end of the machine's console to err, where there is one.
func WithConsole(ctx context.Context, p provider.Provider, name machine.Name, err error) error {
	console, ok := provider.As[provider.Console](p)
	if !ok || !fault.Is(err, fault.BootTimeout) && !fault.Is(err, fault.Unreachable) && !fault.Is(err, fault.MachineLost) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookEvery)
	defer cancel()
	tail, cerr := console.ConsoleTail(ctx, name, consoleTail)
	if cerr != nil || tail == "" {
		return err // the console is an extra; why the machine is not there counts
	}
	return fault.New(fault.Of(err), "%w", err).WithDetail("The end of the machine's console:\n" + tail)
}

// Borrow takes a machine that was made to stay, for use beside others, and
// connects to it. The caller releases the claim and closes the host.
func (a *App) Borrow(ctx context.Context, text string) (*claim.Claim, *host.Host, error) {
	rec, err := a.record(text)
	if err != nil {
		return nil, nil, err
	}
	l, err := a.Ledger()
	if err != nil {
		return nil, nil, err
	}
	_, p, err := a.Provider(ctx, rec.Provider)
	if err != nil {
		return nil, nil, err
	}
	c, err := claim.Borrow(ctx, l, p, rec.Name)
	if err != nil {
		return nil, nil, err
	}
	h, err := a.Dial(ctx, p, c.Machine, 0)
	if err != nil {
		_ = c.Release(ctx) // only lets go of a lock; the connection's error is the one to tell
		return nil, nil, err
	}
	return c, h, nil
}

// Hold takes a machine's record for this process alone: a fault of kind Busy
// says that somebody uses the machine.
func (a *App) Hold(ctx context.Context, text string) (*ledger.Entry, provider.Provider, error) {
	rec, err := a.record(text)
	if err != nil {
		return nil, nil, err
	}
	l, err := a.Ledger()
	if err != nil {
		return nil, nil, err
	}
	_, p, err := a.Provider(ctx, rec.Provider)
	if err != nil {
		return nil, nil, err
	}
	entry, err := l.Hold(rec.Name, false)
	return entry, p, err
}

// By says who asks for a machine, "alice@laptop", for the people who wait for it.
func By() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return host
}
