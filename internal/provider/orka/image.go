package orka

import (
	"context"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
	"outrigger.dev/outrigger/internal/reach"
)

var (
	_ provider.ImageStore     = (*Provider)(nil)
	_ provider.ImageSaver     = (*Provider)(nil)
	_ provider.ImageCommitter = (*Provider)(nil)
	_ provider.ImagePusher    = (*Provider)(nil)
	_ provider.ImageCacher    = (*Provider)(nil)
	_ provider.ImageUncacher  = (*Provider)(nil)
	_ provider.ImagePuller    = (*Provider)(nil)
	_ provider.Credential     = (*Provider)(nil)
)

// Limits of what takes long: others allow an hour and more for a save or a push.
const (
	imageLimit = 2 * time.Hour
	imageFirst = 200 * time.Millisecond
	imageLast  = 10 * time.Second
	// imageStart is how long an image that was asked for may be unknown: its object is made at once.
	imageStart = time.Minute
)

// Images implements [provider.ImageStore]: those in Orka's own storage. Images in registries
// are used by their reference and listed nowhere.
func (p *Provider) Images(ctx context.Context) ([]provider.Image, error) {
	all, err := p.api.Images(ctx)
	if err != nil {
		return nil, p.api.Fault("list of images", err)
	}
	var out []provider.Image
	for _, i := range all {
		out = append(out, p.describeImage(i))
	}
	return out, nil
}

func (p *Provider) describeImage(i orkaapi.Image) provider.Image {
	arch := i.Arch
	if arch == "" {
		arch = p.cfg.Arch
	}
	return provider.Image{
		Name: i.Name, Provider: p.name, Platform: machine.Platform{OS: "darwin", Arch: arch}, Bytes: i.Bytes, Created: i.Created,
		Base: baseOf(i.Description), State: imageStateOf(i),
	}
}

// imageStateOf reads Orka's word for how an image stands. REST may not say; then it is ready.
func imageStateOf(i orkaapi.Image) provider.ImageState {
	switch {
	case strings.EqualFold(i.State, "Failed"):
		return provider.ImageFailed
	case i.State == "" || strings.EqualFold(i.State, "Ready"):
		return ""
	}
	return provider.ImageSaving
}

// describeBase and baseOf keep in an image's description what it was made from.
const describeBase = "made by Outrigger from "

func baseOf(description string) string {
	base, ok := strings.CutPrefix(description, describeBase)
	if !ok {
		return ""
	}
	return base
}

// DeleteImage implements [provider.ImageStore]. VMs of the image would go on; it is refused all the
// same, as everywhere, because people would look for the image of a VM.
func (p *Provider) DeleteImage(ctx context.Context, name string) error {
	d, err := p.open(ctx)
	if err != nil {
		return err
	}
	if _, err := p.api.Image(ctx, name); orkaapi.IsNotFound(err) {
		return fault.New(fault.UnknownImage, "%s: no image %s", p.name, name)
	} else if err != nil {
		return p.api.Fault("image "+name, err)
	}
	vms, err := d.List(ctx)
	if err != nil {
		return p.api.Fault("list of VMs", err)
	}
	for _, vm := range vms {
		if vm.Image == name {
			return fault.New(fault.Busy, "%s: image %s is used by VM %s", p.name, name, vm.Name).WithRemedy("Delete the machine first.")
		}
	}
	err = p.api.DeleteImage(ctx, name)
	if orkaapi.IsNotFound(err) {
		return nil // it went in this moment
	}
	return p.api.Fault("image "+name, err)
}

// SaveImage implements [provider.ImageSaver]. Orka stops the VM while it copies its disk and
// starts it again; this returns when the image is ready and the machine answers.
func (p *Provider) SaveImage(ctx context.Context, name machine.Name, image string) (provider.Image, error) {
	if _, err := p.api.Image(ctx, image); err == nil {
		return provider.Image{}, fault.New(fault.NameTaken, "%s: image %s exists", p.name, image).
			WithRemedy("Choose another name, or delete the image: outrigger image delete %s", image)
	} else if !orkaapi.IsNotFound(err) {
		return provider.Image{}, p.api.Fault("image "+image, err)
	}
	vm, err := p.flushed(ctx, name)
	if err != nil {
		return provider.Image{}, err
	}
	if err := p.api.Save(ctx, p.cfg.Namespace, vm.Name, image, describeBase+vm.Image); err != nil {
		return provider.Image{}, p.api.Fault("save of VM "+vm.Name, err)
	}
	saved, err := p.awaitImage(ctx, image)
	if err != nil {
		return provider.Image{}, err
	}
	out := p.describeImage(saved)
	out.Base = vm.Image
	return out, p.awaitBack(ctx, name)
}

// CommitImage implements [provider.ImageCommitter].
func (p *Provider) CommitImage(ctx context.Context, name machine.Name) (provider.Image, error) {
	vm, err := p.flushed(ctx, name)
	if err != nil {
		return provider.Image{}, err
	}
	if strings.ContainsAny(vm.Image, "/:") {
		return provider.Image{}, fault.New(fault.ProviderRefused, "%s: machine %s: its image %s is in a registry, so it cannot be overwritten", p.name, name, vm.Image).
			WithRemedy("Save it as an image of Orka's own, or push it to the registry.")
	}
	if err := p.api.Commit(ctx, p.cfg.Namespace, vm.Name, "committed by Outrigger"); err != nil {
		return provider.Image{}, p.api.Fault("commit of VM "+vm.Name, err)
	}
	committed, err := p.awaitImage(ctx, vm.Image)
	if err != nil {
		return provider.Image{}, err
	}
	return p.describeImage(committed), p.awaitBack(ctx, name)
}

// PushImage implements [provider.ImagePusher]. How a push goes is told by a Pod of
// the cluster alone, so it takes Kubernetes' door.
func (p *Provider) PushImage(ctx context.Context, name machine.Name, reference string) error {
	d, err := p.open(ctx)
	if err != nil {
		return err
	}
	kube, ok := d.(*orkaapi.Kube)
	if !ok {
		return fault.New(fault.ProviderRefused, "%s: a push is seen to its end only through the cluster's Kubernetes API, and that is not in use", p.name).
			WithRemedy("Give a token that may use it: see docs/howto/orka.md.")
	}
	vm, err := p.flushed(ctx, name)
	if err != nil {
		return err
	}
	job, err := p.api.Push(ctx, p.cfg.Namespace, vm.Name, reference)
	if err != nil {
		return p.api.Fault("push of VM "+vm.Name, err)
	}
	limit, cancel := context.WithTimeout(ctx, imageLimit)
	defer cancel()
	pause, start := imageFirst, time.Now()
	for {
		phase, words, err := kube.Job(limit, job)
		switch {
		case err != nil:
			return p.api.Fault("push of VM "+vm.Name, err)
		case phase == "Succeeded":
			return nil
		case phase == "Failed":
			return fault.New(fault.ProviderRefused, "%s: push of machine %s to %s has failed%s", p.name, name, reference, after(": ", words))
		case phase == "" && time.Since(start) > imageStart:
			return fault.New(fault.ProviderDown, "%s: push of machine %s to %s: its job %s is not to be seen", p.name, name, reference, job)
		}
		if err := sleep(limit, &pause); err != nil {
			return fault.New(fault.ProviderDown, "%s: push of machine %s to %s: not seen to end: %w", p.name, name, reference, err)
		}
	}
}

// flushed finds a running machine's VM, and has it write out what it holds back: a saved image
// has missed the last writes before.
func (p *Provider) flushed(ctx context.Context, name machine.Name) (orkaapi.VM, error) {
	vms, err := p.named(ctx, name)
	if err != nil {
		return orkaapi.VM{}, err
	}
	if len(vms) == 0 {
		return orkaapi.VM{}, fault.New(fault.UnknownMachine, "%s: no machine %s", p.name, name)
	}
	m, err := p.describe(vms[0])
	if err != nil {
		return orkaapi.VM{}, err
	}
	if m.State != machine.Running {
		return orkaapi.VM{}, fault.New(fault.MachineLost, "%s: machine %s is %s, only a running one can be saved", p.name, name, m.State)
	}
	c, err := reach.Dial(ctx, m.Endpoint, reach.Options{DialContext: p.cfg.Dial, Log: p.log})
	if err != nil {
		return orkaapi.VM{}, err
	}
	defer c.Close()
	if _, exit, err := c.Output(ctx, "sync", nil); err != nil || exit != 0 {
		return orkaapi.VM{}, fault.New(fault.RemoteFile, "%s: machine %s: sync before saving: exit code %d: %w", p.name, name, exit, err)
	}
	return vms[0], nil
}

// awaitImage waits until an image that is being made is ready.
func (p *Provider) awaitImage(ctx context.Context, name string) (orkaapi.Image, error) {
	limit, cancel := context.WithTimeout(ctx, imageLimit)
	defer cancel()
	pause, start := imageFirst, time.Now()
	for {
		i, err := p.api.Image(limit, name)
		switch {
		case orkaapi.IsNotFound(err) && time.Since(start) < imageStart:
		case err != nil:
			return i, p.api.Fault("image "+name, err)
		case imageStateOf(i) == provider.ImageFailed:
			return i, fault.New(fault.ProviderRefused, "%s: image %s has Failed%s", p.name, name, after(": ", i.Error))
		case i.Name != "" && imageStateOf(i) == "":
			return i, nil
		}
		if err := sleep(limit, &pause); err != nil {
			return i, fault.New(fault.ProviderDown, "%s: image %s: not seen to be ready: %w", p.name, name, err)
		}
	}
}

// awaitBack waits until a machine that was saved answers again, at what may be another port.
func (p *Provider) awaitBack(ctx context.Context, name machine.Name) error {
	limit, cancel := context.WithTimeout(ctx, p.cfg.BootTimeout)
	defer cancel()
	pause := imageFirst
	for {
		m, err := p.Get(limit, name)
		if err == nil && m.Endpoint.Host != "" {
			var c *reach.Client
			if c, err = reach.Dial(limit, m.Endpoint, reach.Options{DialContext: p.cfg.Dial, Log: p.log}); err == nil {
				return c.Close()
			}
		}
		if err != nil && !fault.Lookup(fault.Of(err)).Retry {
			return err
		}
		if serr := sleep(limit, &pause); serr != nil {
			return fault.New(fault.BootTimeout, "%s: machine %s: does not answer after it was saved: %w", p.name, name, serr)
		}
	}
}

// sleep waits a while, the next time longer.
func sleep(ctx context.Context, pause *time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(*pause):
	}
	*pause = min(*pause*2, imageLast)
	return nil
}
