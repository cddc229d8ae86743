package doctor

import (
	"context"
	"time"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// expires is when anybody may delete the machine, should we be killed.
const expires = time.Hour

// A made machine is one that is deleted when it was looked at.
type made struct {
	claim   *claim.Claim
	subject look.Subject
}

// create makes a machine and waits until it answers, and puts into the sheet how that went.
func (v *visit) create(ctx context.Context) (made, error) {
	a, o, p, out := v.app, v.o, v.patient, v.out
	cfg, err := a.Config()
	if err != nil {
		return made{}, err
	}
	l, err := a.Ledger()
	if err != nil {
		return made{}, err
	}
	spec := machine.Spec{
		Name: machine.NewName("doctor"), Image: o.Image, Expires: a.IO.Now().Add(expires).UTC(), Labels: map[string]string{"by": app.By()},
	}
	row := doctor.Result{Subject: "machine " + string(spec.Name), Check: "create", State: doctor.OK}
	display := a.Display()
	defer display.Close()
	began := time.Now()
	display.Phase(progress.Create, string(spec.Name))
	c, err := claim.Take(ctx, l, p.Provider, claim.Request{Provider: p.Name, Spec: spec})
	if err == nil {
		display.Phase(progress.Boot, string(spec.Name))
		err = boots(ctx, a, p, c, cfg.Run.BootTimeout)
	}
	display.Close()
	if ctx.Err() != nil && err != nil {
		return made{}, err
	}
	if err != nil {
		out.add(failure(row, err))
		return made{}, err
	}
	row.Found = "made, and answers, after " + time.Since(began).Round(100*time.Millisecond).String()
	out.add(row)
	s := subject(c.Machine)
	s.Title = row.Subject
	return made{c, s}, nil
}

// boots waits until the machine answers; one that does not is given back.
func boots(ctx context.Context, a *app.App, p look.Patient, c *claim.Claim, limit time.Duration) error {
	h, err := a.Dial(ctx, p.Provider, c.Machine, limit)
	if err == nil {
		return h.Close()
	}
	if rerr := c.Release(ctx); rerr != nil {
		return fault.New(fault.Of(err), "%w; and giving it back: %v", err, rerr)
	}
	return err
}

// giveBack deletes the machine.
func (m made) giveBack(ctx context.Context, out *sheet) {
	row := doctor.Result{Subject: m.subject.Title, Check: "delete", State: doctor.OK, Found: "deleted"}
	if err := m.claim.Release(ctx); err != nil {
		row = failure(row, err)
	}
	out.add(row)
}

// failure says of an error what a check says of its own.
func failure(row doctor.Result, err error) doctor.Result {
	row.State, row.Reason, row.Found, row.Cure = doctor.Failed, doctor.Reason(fault.Of(err)), err.Error(), fault.Remedy(err)
	return row
}
