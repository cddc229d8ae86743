package orka

import (
	"context"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// A door is one of Orka's two APIs, as far as VMs are concerned.
type door interface {
	List(ctx context.Context) ([]orkaapi.VM, error)
	Get(ctx context.Context, name string) (orkaapi.VM, error)
	Deploy(ctx context.Context, d orkaapi.Deploy) error // once; see Blocks
	Delete(ctx context.Context, name string) error
	Blocks() bool // whether Deploy returns only when the VM runs
}

var (
	_ door = (*orkaapi.REST)(nil)
	_ door = (*orkaapi.Kube)(nil)
)

const (
	probeLimit = 10 * time.Second
	// secondChoice is how long REST is used after Kubernetes' API did not answer.
	secondChoice = time.Minute
)

// open chooses the door, once.
func (p *Provider) open(ctx context.Context) (door, error) {
	p.choosing.Lock()
	defer p.choosing.Unlock()
	if p.door != nil && (p.again.IsZero() || time.Now().Before(p.again)) {
		return p.door, nil
	}
	d, again, err := p.choose(ctx)
	if err != nil {
		return nil, err
	}
	p.door, p.again = d, again
	return d, nil
}

func (p *Provider) choose(ctx context.Context) (d door, again time.Time, err error) {
	rest := p.api.REST(p.cfg.Namespace)
	if p.cfg.Door == DoorREST {
		return rest, again, nil
	}
	info, err := p.api.Info(ctx)
	if err != nil {
		return nil, again, p.api.Fault("cluster-info", err)
	}
	kube, err := p.api.Kube(info, p.cfg.Namespace)
	if err == nil {
		limit, cancel := context.WithTimeout(ctx, probeLimit)
		defer cancel()
		if err = kube.Probe(limit); err == nil {
			p.log.Debug("orka door", "provider", p.name, "door", DoorKubernetes, "at", info.APIEndpoint)
			return kube, again, nil
		}
	}
	if ctx.Err() != nil {
		return nil, again, fault.New(fault.ProviderDown, "orka: Kubernetes API %s: %w", info.APIEndpoint, context.Cause(ctx))
	}
	if p.cfg.Door == DoorKubernetes {
		return nil, again, p.api.Fault("Kubernetes API "+info.APIEndpoint, err)
	}
	if orkaapi.Passing(err) {
		again = time.Now().Add(secondChoice)
	}
	p.log.Info("orka door", "provider", p.name, "door", DoorREST, "because", "Kubernetes API "+info.APIEndpoint, "error", err)
	return rest, again, nil
}
