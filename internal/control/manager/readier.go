package manager

import (
	"context"
	"log/slog"

	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach/deliver"
)

// readier is what makes machines ready over SSH.
func readier(deliver.Source, *slog.Logger) pools.Readier { return unable{} }

// unable refuses every machine: this build does not know how to make one ready. It
// is here until the package that does is.
type unable struct{}

var errUnable = fault.New(fault.Internal, "controller: this build cannot make machines ready")

func (unable) Answers(context.Context, machine.Endpoint) error { return errUnable }
func (unable) Prepare(context.Context, machine.Machine) (pools.Prepared, error) {
	return pools.Prepared{}, errUnable
}
func (unable) Check(context.Context, handoff.Claim) error { return errUnable }
func (unable) Release(context.Context, handoff.Claim) (handoff.Claim, error) {
	return handoff.Claim{}, errUnable
}
