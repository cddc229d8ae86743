package pools

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
)

// work is what the Readier is told about a machine.
func (c *core) work(ctx context.Context, p *v1alpha1.MachinePool, place Place, made machine.Machine) (Work, error) {
	w := Work{Machine: made, Pool: p, Lasting: place.Lasting}
	if pr := p.Spec.Preparation; pr != nil && pr.BuildKeychain != nil {
		var err error
		if w.Identities, err = secret(ctx, c.live, c.Namespace, "preparation.buildKeychain", pr.BuildKeychain.SecretName, "NAME.p12"); err != nil {
			return w, err
		}
	}
	return w, nil
}

// workOn asks the provider for a machine that exists already.
func (c *core) workOn(ctx context.Context, p *v1alpha1.MachinePool, place Place, m *v1alpha1.Machine) (Work, error) {
	remind(place, m)
	made, err := place.Get(ctx, machine.Name(m.Name))
	if err != nil {
		return Work{}, err
	}
	if place.Adopt != nil {
		made.Endpoint = place.Adopt(made.Endpoint)
	}
	return c.work(ctx, p, place, made)
}

// LeaseName is the name of a claim's lease on its machine: another one for each claim
// that there ever was.
func LeaseName(claim string, uid types.UID) string { return handoff.LeaseName(claim, string(uid)) }
