package orka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// cacheOwner has the VMs that are made for a node to fetch an image.
const cacheOwner machine.Owner = "outrigger-image-cache"

// cacheAtOnce is how many nodes fetch an image at a time: all come from one registry.
const cacheAtOnce = 4

// CacheImage implements [provider.ImageCacher]. Orka has a command for it and no published
// call, but a node keeps the image of a VM that it ran: so each node runs one for a moment. A node
// that has no room now is told of, and not waited for.
func (p *Provider) CacheImage(ctx context.Context, image string, nodes []string, progress func(node string, err error)) error {
	there, err := p.api.Nodes(ctx, p.cfg.Namespace)
	if err != nil {
		return p.api.Fault("list of nodes", err)
	}
	known := map[string]bool{}
	var ready []string
	for _, n := range there {
		known[n.Name] = true
		if n.Ready {
			ready = append(ready, n.Name)
		}
	}
	for _, n := range nodes {
		if !known[n] {
			return fault.New(fault.Usage, "%s: namespace %s has no node %s", p.name, p.cfg.Namespace, n)
		}
	}
	if len(nodes) == 0 {
		nodes = ready
	}
	if len(nodes) == 0 {
		return fault.New(fault.NoCapacity, "%s: no node of namespace %s is ready", p.name, p.cfg.Namespace)
	}
	p.sweepCache(ctx)
	errs := make([]error, len(nodes))
	slots := make(chan struct{}, cacheAtOnce)
	var wg sync.WaitGroup
	for i, node := range nodes {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if errs[i] = p.cacheOn(ctx, image, node); errs[i] != nil {
				errs[i] = fmt.Errorf("node %s: %w", node, errs[i])
			}
			if progress != nil {
				progress(node, errs[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sweepCache deletes what earlier calls have left that were killed: a VM of the kind that is older
// than any may become. Where that fails the next call tries again.
func (p *Provider) sweepCache(ctx context.Context) {
	all, err := p.List(ctx, cacheOwner)
	for _, m := range all {
		if p.api.Now().Sub(m.Created) > p.cfg.DeployTimeout+margin {
			err = errors.Join(err, p.Delete(ctx, m.Name))
		}
	}
	if err != nil {
		p.log.Warn("VMs that were left by image cache", "provider", p.name, "error", err)
	}
}

// cacheOn has a node run a VM of the image until it is seen to run.
func (p *Provider) cacheOn(ctx context.Context, image, node string) (err error) {
	on := p.cfg
	on.Node, on.Tag, on.TagRequired, on.ReservedPorts = node, "", false, nil
	q := &Provider{
		name: p.name, dir: p.dir, cfg: on, api: p.api, log: p.log,
		asked: map[machine.Name]asking{}, silent: map[string]bool{},
	}
	name := machine.NewName("cache")
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit) // else it runs for nobody
		defer cancel()
		err = errors.Join(err, q.Delete(clean, name))
	}()
	d, err := q.open(ctx)
	if err != nil {
		return err
	}
	spec := machine.Spec{Name: name, Owner: cacheOwner, Image: image, Expires: time.Now().Add(p.cfg.DeployTimeout + margin)}
	order := q.order(spec)
	q.note(name, func(a *asking) { a.vm = order.Name })
	if err := q.begin(spec, order, false); err != nil {
		return err
	}
	a := q.attempt(d, spec, order)
	if err := a.ask(ctx); err != nil {
		return err
	}
	defer a.settlePost()
	a.f = follow(ctx, d, order.Name)
	defer a.f.stop()
	return a.ending(ctx, a.awaitRunning(ctx))
}
