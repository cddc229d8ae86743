package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/claim"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// buildFor is when anybody may delete a machine that a build has left behind: what takes longest
// is an hour of Xcode and two hours of Orka's for saving.
const buildFor = 24 * time.Hour

// cleanLimit bounds the removal of a half-made image, which goes on after ctx ended.
const cleanLimit = time.Minute

// A Spec asks for an image.
type Spec struct {
	Prefix    string // of the image's name, see [Recipe.Name]
	Recipe    Recipe
	CPUs      int // of the machine; 0: the provider's default
	MemoryMiB int
	Force     bool          // make it even if it is there, in the place of what is there
	Keep      time.Duration // how long a machine stays whose build failed; 0: it does not
	Labels    map[string]string

	Provider string         // configured name
	Ledger   *ledger.Ledger // where the machine is written down
	// Dial, if not nil, connects to the machine instead of [host.Dial].
	Dial func(context.Context, machine.Machine) (*host.Host, error)
	// Watch, if not nil, ends its context when the machine dies. It looks between
	// lost(true) and lost(false).
	Watch func(context.Context, machine.Name) (_ context.Context, lost func(bool))
}

// A Result is what became of a build.
type Result struct {
	Image   provider.Image
	Skipped bool         // the image was there, or became so meanwhile
	Kept    machine.Name // the machine of a failed build, if it was kept
}

// Build makes the image, unless there is one of the same inputs: a machine of the base, the
// recipe carried out on it, its disk saved, the machine deleted. A machine
// whose build failed is kept for spec.Keep; one that was given up is not.
func Build(ctx context.Context, p provider.Provider, o Options, spec Spec, out io.Writer) (Result, error) {
	o = o.withDefaults()
	b := &build{p: p, o: o, spec: spec, out: out}
	if err := b.check(ctx); err != nil {
		return Result{}, err
	}
	there, ok, err := b.there(ctx)
	switch {
	case err != nil:
		return Result{}, err
	case ok && there.State == provider.ImageSaving:
		return Result{}, fault.New(fault.Busy, "image %s: is being made by somebody else", b.name)
	case ok && there.State == provider.ImageFailed:
		b.spec.Force = true
	case ok && !spec.Force:
		return Result{Image: there, Skipped: true}, nil
	case ok:
		if err := b.unused(ctx); err != nil {
			return Result{}, err
		}
	}
	return b.make(ctx)
}

// A build is one Build under way.
type build struct {
	p     provider.Provider
	o     Options
	spec  Spec
	out   io.Writer
	saver provider.ImageSaver
	store provider.ImageStore
	name  string // of the image
}

// check finds all that can be found before anything is made.
func (b *build) check(ctx context.Context) error {
	if err := CheckPrefix(b.spec.Prefix); err != nil {
		return err
	}
	if err := b.spec.Recipe.Check(); err != nil {
		return err
	}
	var saves, lists bool
	b.saver, saves = provider.As[provider.ImageSaver](b.p)
	b.store, lists = provider.As[provider.ImageStore](b.p)
	if !saves || !lists {
		return fault.New(fault.ProviderRefused, "provider %s: cannot save images", b.spec.Provider)
	}
	r, err := Identify(ctx, b.store, b.spec.Recipe)
	b.spec.Recipe, b.name = r, r.Name(b.spec.Prefix)
	var unknown *fault.Error
	if _, builds := provider.As[provider.ImageBuilder](b.p); builds && errors.As(err, &unknown) && unknown.Kind == fault.UnknownImage {
		return unknown.WithRemedy("A base image of Debian is made by: outrigger image build --on %s", b.spec.Provider)
	}
	return err
}

// Identify tells the recipe's base from others that had its name before or will have it: an image
// that was built anew makes new images of it. A base that the store does not have is a fault of kind
// UnknownImage; what may be in a registry, whose images are listed nowhere, is taken as it is.
func Identify(ctx context.Context, store provider.ImageStore, r Recipe) (Recipe, error) {
	images, err := store.Images(ctx)
	if err != nil {
		return r, err
	}
	for _, i := range images {
		if i.Name == r.Base {
			r.BaseID = BaseID(i)
			return r, nil
		}
	}
	if !strings.ContainsAny(r.Base, "/:") {
		return r, fault.New(fault.UnknownImage, "base image %q: not found", r.Base)
	}
	return r, nil
}

// BaseID tells an image from others that had its name before or will have it.
func BaseID(i provider.Image) string { return i.Created.UTC().Format(time.RFC3339Nano) }

// there looks for the image.
func (b *build) there(ctx context.Context) (provider.Image, bool, error) {
	images, err := b.store.Images(ctx)
	for _, i := range images {
		if i.Name == b.name {
			return i, true, err
		}
	}
	return provider.Image{}, false, err
}

// unused tells of what keeps the image from being replaced, before an hour is spent on another.
func (b *build) unused(ctx context.Context) error {
	images, err := b.store.Images(ctx)
	if err != nil {
		return err
	}
	for _, i := range images {
		if i.Base == b.name {
			return fault.New(fault.Busy, "image %s: cannot be replaced: image %s is made from it", b.name, i.Name).
				WithRemedy("Delete that image first, or build without --force.")
		}
	}
	machines, err := b.p.List(ctx, "")
	if err != nil {
		return err
	}
	for _, m := range machines {
		if m.Image == b.name {
			return fault.New(fault.Busy, "image %s: cannot be replaced: machine %s is made from it", b.name, m.Name).
				WithRemedy("Delete the machine first, or build without --force.")
		}
	}
	return nil
}

// make makes the machine and the image, and gives the machine back.
func (b *build) make(ctx context.Context) (res Result, err error) {
	b.o.stage(Create)
	c, err := claim.Take(ctx, b.spec.Ledger, b.p, claim.Request{Provider: b.spec.Provider, Spec: machine.Spec{
		Name: machine.NewName("image"), Image: b.spec.Recipe.Base, CPUs: b.spec.CPUs, MemoryMiB: b.spec.MemoryMiB,
		Expires: time.Now().Add(buildFor + b.spec.Keep).UTC(), Labels: b.spec.Labels,
	}})
	if err != nil {
		return Result{}, err
	}
	defer func() {
		// One that was given up is of no interest, and its user waits.
		if err != nil && b.spec.Keep > 0 && ctx.Err() == nil && !fault.Is(err, fault.MachineLost) {
			if kerr := c.Keep(time.Now().Add(b.spec.Keep).UTC()); kerr == nil {
				res.Kept = c.Machine.Name
			}
		}
		b.o.stage(Release)
		if rerr := c.Release(ctx); rerr != nil {
			err = also(err, rerr)
		}
	}()
	if err := b.provision(ctx, c.Machine); err != nil {
		return Result{}, err
	}
	return b.save(ctx, c.Machine.Name)
}

// provision carries the recipe out on the machine, for as long as the machine lives.
func (b *build) provision(ctx context.Context, m machine.Machine) error {
	o := b.o
	if b.spec.Watch != nil {
		var lost func(bool)
		ctx, lost = b.spec.Watch(ctx, m.Name)
		defer lost(false)
		o.Lost = func(cause error) {
			lost(true)
			if b.o.Lost != nil {
				b.o.Lost(cause)
			}
		}
		o.Back = func() {
			lost(false)
			if b.o.Back != nil {
				b.o.Back()
			}
		}
	}
	o.stage(Boot)
	dial := b.spec.Dial
	if dial == nil {
		dial = func(ctx context.Context, m machine.Machine) (*host.Host, error) {
			return host.Dial(ctx, host.Config{Endpoint: m.Endpoint, Agents: o.Agents, Reach: o.Reach, Boot: o.Boot, Log: o.Log})
		}
	}
	h, err := dial(ctx, m)
	if err != nil {
		return err
	}
	defer h.Close()
	return provision(ctx, h, m.Endpoint.Root, o, b.spec.Recipe, b.out)
}

// save makes the image of the machine's disk.
func (b *build) save(ctx context.Context, name machine.Name) (Result, error) {
	b.o.stage(Save)
	if b.spec.Force {
		if err := b.store.DeleteImage(ctx, b.name); err != nil && !fault.Is(err, fault.UnknownImage) {
			return Result{}, err
		}
	}
	image, err := b.saver.SaveImage(ctx, name, b.name)
	switch {
	case err == nil:
		return Result{Image: image}, nil
	case image.Name != "":
		// It is made, and the machine it was made of does not answer any more, whose time is over anyway.
		b.o.Log.Info("the machine of an image that was saved", "image", b.name, "cause", err)
		return Result{Image: image}, nil
	case fault.Is(err, fault.NameTaken):
		// Somebody else has made it of the same inputs meanwhile.
		if there, ok, lerr := b.there(ctx); ok && lerr == nil && there.State == "" {
			return Result{Image: there, Skipped: true}, nil
		}
		return Result{}, err
	}
	// What there is of it would be taken for the image the next time.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
	defer cancel()
	if derr := b.store.DeleteImage(clean, b.name); derr != nil && !fault.Is(derr, fault.UnknownImage) {
		err = also(err, derr)
	}
	return Result{}, err
}

// also adds what went wrong while cleaning up; the first error stays the one that is told.
func also(err, cleanup error) error {
	if err == nil {
		return cleanup
	}
	f := fault.New(fault.Of(err), "%w", err).WithExit(fault.ExitCode(err))
	var inner *fault.Error
	if errors.As(err, &inner) {
		f.Remedy, f.Detail = inner.Remedy, inner.Detail
	}
	f.Detail = strings.TrimLeft(fmt.Sprintf("%s\n%v", f.Detail, cleanup), "\n")
	return f
}
