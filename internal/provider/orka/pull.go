package orka

import (
	"context"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// PullImage implements [provider.ImagePuller]: from Orka's catalogue of remote images, which is
// older than its use of registries. What is in a registry needs no pull.
func (p *Provider) PullImage(ctx context.Context, remote, image string) (provider.Image, error) {
	if strings.ContainsAny(remote, "/:") {
		return provider.Image{}, fault.New(fault.ProviderRefused, "%s: image %s is in a registry: machines are made by that reference, and nothing is pulled beforehand", p.name, remote).
			WithRemedy("Give it as --image. To have the nodes fetch it: outrigger image cache --on %s %s", p.name, remote)
	}
	if _, err := p.api.Image(ctx, image); err == nil {
		return provider.Image{}, fault.New(fault.NameTaken, "%s: image %s exists", p.name, image).
			WithRemedy("Choose another name, or delete the image: outrigger image delete %s", image)
	} else if !orkaapi.IsNotFound(err) {
		return provider.Image{}, p.api.Fault("image "+image, err)
	}
	known, err := p.api.RemoteImages(ctx)
	if err != nil {
		return provider.Image{}, p.api.Fault("list of remote images", err)
	}
	if !slices.Contains(known, remote) {
		return provider.Image{}, fault.New(fault.UnknownImage, "%s: the catalogue of remote images has no %s", p.name, remote).
			WithRemedy("See what it has with: orka3 remote-image list")
	}
	if err := p.api.Pull(ctx, remote, image, "pulled by Outrigger"); err != nil {
		return provider.Image{}, p.api.Fault("pull of image "+remote, err)
	}
	pulled, err := p.awaitImage(ctx, image)
	return p.describeImage(pulled), err
}

// UncacheImage implements [provider.ImageUncacher]. Orka has it since 3.6.
func (p *Provider) UncacheImage(ctx context.Context, image string, nodes []string) error {
	err := p.api.Uncache(ctx, image, nodes)
	if orkaapi.IsNotFound(err) {
		return fault.New(fault.ProviderRefused, "%s: this Orka has no call that makes nodes forget an image: %w", p.name, err).
			WithRemedy("It came with Orka 3.6. If yours has it under another path, set it: providers.%s.orka.fields.imagecacheRemovePath", p.name)
	}
	return p.api.Fault("image cache of nodes", err)
}
