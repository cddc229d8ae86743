package qemu

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/qemu/qmp"
	"outrigger.dev/outrigger/internal/reach"
)

// SaveImage implements [provider.ImageSaver]. The machine's disk stands still
// for a moment with all that was written to it, and goes on in a new layer; the
// layers below become the image, without being copied. Keys and identity of the
// machine are in its memory or are written anew when a machine boots.
func (p *Provider) SaveImage(ctx context.Context, name machine.Name, imageName string) (provider.Image, error) {
	if err := checkImageName(imageName); err != nil {
		return provider.Image{}, fault.New(fault.Usage, "qemu: %w", err)
	}
	if _, err := p.load(name); err != nil {
		return provider.Image{}, err
	}
	l, err := acquire(ctx, filepath.Join(p.machineDir(name), lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return provider.Image{}, fault.New(fault.UnknownMachine, "%s: no machine %s", p.name, name)
	}
	if err != nil {
		return provider.Image{}, err
	}
	defer l.release()
	m, err := p.Get(ctx, name)
	if err != nil {
		return provider.Image{}, err
	}
	if m.State != machine.Running {
		return provider.Image{}, fault.New(fault.MachineLost, "%s: machine %s is %s, only a running one can be saved", p.name, name, m.State)
	}
	if err := p.imageFree(imageName); err != nil {
		return provider.Image{}, err
	}
	layers, err := p.freezeLayers(ctx, m)
	if err != nil {
		return provider.Image{}, err
	}
	return p.imageOf(ctx, m, imageName, layers)
}

func (p *Provider) imageFree(name string) error {
	_, err := p.image(name)
	if err == nil {
		return fault.New(fault.NameTaken, "%s: image %s exists", p.name, name).
			WithRemedy("Choose another name, or delete the image: outrigger image delete %s", name)
	}
	if fault.Is(err, fault.UnknownImage) {
		return nil
	}
	return err
}

// freezeLayers ends the layer that the machine writes to and returns all that
// its disk consists of, lowest first.
func (p *Provider) freezeLayers(ctx context.Context, m machine.Machine) ([]string, error) {
	v := p.vmOf(m.Name)
	mon, err := v.monitor(ctx)
	if err != nil {
		return nil, fault.New(fault.ProviderDown, "%w", err)
	}
	defer mon.Close()
	node, layers, err := activeDisk(ctx, mon, v.dir)
	if err != nil {
		return nil, fault.New(fault.ProviderDown, "%w", err)
	}
	top := newLayer()
	if err := addLayer(ctx, v.dir, layers[len(layers)-1], top); err != nil {
		return nil, err
	}
	thaw, err := p.freezeGuest(ctx, m)
	if err != nil {
		return nil, err
	}
	err = mon.Do(ctx, "blockdev-snapshot-sync", map[string]any{
		"node-name": node, "snapshot-node-name": nodeOf(top),
		"snapshot-file": v.path(top), "format": "qcow2", "mode": "existing",
	}, nil)
	if err != nil {
		err = fault.New(fault.ProviderDown, "%w", err)
	}
	return layers, errors.Join(err, thaw())
}

// activeDisk asks QEMU which node the guest's disk is, and follows the layers
// from there; lowest first. QEMU knows: a client that died may have changed it
// and stored nothing.
func activeDisk(ctx context.Context, m *qmp.Conn, dir string) (node string, layers []string, err error) {
	var disks []struct {
		Inserted struct {
			Node string `json:"node-name"`
		} `json:"inserted"`
	}
	if err := m.Do(ctx, "query-block", nil, &disks); err != nil {
		return "", nil, err
	}
	for _, d := range disks {
		if layer, ok := layerOf(d.Inserted.Node); ok {
			layers, err := chain(dir, layer)
			return d.Inserted.Node, layers, err
		}
	}
	return "", nil, errors.New("qemu: the guest has no disk")
}

// freezeCommand holds the guest's file system still until it reads a line, or
// the end of its input, or a minute is over: whatever becomes of us and of the
// connection, the guest goes on. It says "held" if it was told to let go.
const freezeCommand = `trap '' HUP INT PIPE TERM
sync && fsfreeze --freeze / || exit
echo frozen
read -r -t 60 _ && held=held
fsfreeze --unfreeze /
echo "$held"`

// freezeGuest makes the guest write out all that it has and hold its file
// system still until the function that it returns is called. That fails if the
// guest did not hold still so long.
func (p *Provider) freezeGuest(ctx context.Context, m machine.Machine) (thaw func() error, err error) {
	client, err := reach.Dial(ctx, m.Endpoint, reach.Options{Log: p.log})
	if err != nil {
		return nil, err
	}
	session, err := client.Stream(ctx, freezeCommand)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	answers := bufio.NewReader(io.LimitReader(session, 64))
	expect := func(want string) error {
		got, err := answers.ReadString('\n')
		if err != nil || got != want+"\n" {
			return fault.New(fault.ProviderDown, "%s: machine %s: its file system is not held still: answered %q, want %q: %w", p.name, m.Name, got, want, err)
		}
		return nil
	}
	end := func() error { return errors.Join(session.Close(), client.Close()) }
	if err := expect("frozen"); err != nil {
		return nil, errors.Join(err, end())
	}
	return func() error {
		_, err := io.WriteString(session, "\n")
		if err == nil {
			err = expect("held")
		}
		return errors.Join(err, end())
	}, nil
}

// imageOf makes an image of layers that nobody writes to.
func (p *Provider) imageOf(ctx context.Context, m machine.Machine, name string, layers []string) (saved provider.Image, err error) {
	r, err := p.load(m.Name)
	if err != nil {
		return provider.Image{}, err
	}
	img := image{
		Name: name, Base: m.Image, Dir: name + "-" + randomName(), Layers: layers, Disk: r.Disk,
		Platform: m.Platform, Created: time.Now(),
	}
	d, err := p.draft(ctx)
	if err != nil {
		return provider.Image{}, err
	}
	defer func() { err = errors.Join(err, d.discard()) }()
	if err := link(img.files(), p.machineDir(m.Name), d.dir); err != nil {
		return provider.Image{}, err
	}
	if err := img.sync(d.dir); err != nil {
		return provider.Image{}, err
	}
	l, err := p.hold(ctx)
	if err != nil {
		return provider.Image{}, err
	}
	defer l.release()
	if err := p.imageFree(name); err != nil {
		return provider.Image{}, err
	}
	if err := p.publishImage(img, d); err != nil {
		return provider.Image{}, err
	}
	return p.describeImage(img), nil
}
