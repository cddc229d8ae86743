package step

import (
	"context"
	"time"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/podrelay"
)

// fromProvider makes a machine of a configured provider. Nobody but us gives it
// back: if we are killed it lives until it expires, or until "outrigger gc".
func fromProvider(ctx context.Context, a *app.App, o Options) (taken, error) {
	l, err := a.Ledger()
	if err != nil {
		return taken{}, err
	}
	name, prov, err := a.Provider(ctx, o.On)
	if err != nil {
		return taken{}, err
	}
	c, err := claim.Take(ctx, l, prov, claim.Request{Provider: name, Spec: machine.Spec{
		Name: machine.NewName(Name), Image: o.Image, Expires: time.Now().Add(o.Expires).UTC(),
	}})
	if err != nil {
		return taken{}, err
	}
	m := c.Machine
	return taken{
		task: podrelay.Task{
			Claim: handoff.Claim{
				Version: handoff.Version, Name: app.By(), Lease: string(m.Name), Owner: c.Record().Owner,
				Machine: m.Name, Platform: m.Platform, Endpoint: m.Endpoint,
			},
			Endpoint: m.Endpoint, Boot: o.BootTimeout, Cold: true, LeaseTTL: o.Expires,
		},
		release: c.Release,
	}, nil
}
