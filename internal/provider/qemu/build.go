package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/qemu/guest"
)

// baseImage is the image that BuildImage makes unless told another name.
const baseImage = "debian"

// basePackages are in every image that is built: what boots it and answers SSH,
// and what compiles a C program.
var basePackages = []string{
	"ca-certificates", "dropbear-bin", "gcc", "iproute2", "kmod", "libc6-dev", "make", "openssh-sftp-server", "procps",
}

// bootModules are the drivers that a guest needs before it sees its disk. A
// kernel that has one of them built in has no such file.
const bootModules = "virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net virtio_blk"

// leftOut is what nobody reads in a machine that lives for one build.
var leftOut = []string{"/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*"}

// recipeVersion is part of an image's inputs: raise it when the way an image is
// made changes and nothing else of them does.
const recipeVersion = 1

var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// BuildImage implements [provider.ImageBuilder]. The image is a small Debian of
// this computer's own release. An image whose inputs did not change is not
// built again.
func (p *Provider) BuildImage(ctx context.Context, spec provider.BuildSpec) (provider.Image, error) {
	arch, err := thisArchitecture()
	if err != nil {
		return provider.Image{}, err
	}
	fill(&spec.Name, baseImage)
	if err := checkImageName(spec.Name); err != nil {
		return provider.Image{}, fault.New(fault.Usage, "qemu: %w", err)
	}
	packages := slices.Concat(basePackages, spec.Packages)
	for _, name := range spec.Packages {
		if !packageName.MatchString(name) {
			return provider.Image{}, fault.New(fault.Usage, "qemu: package %q: want the name of a Debian package", name)
		}
	}
	slices.Sort(packages)
	b := builder{p: p, arch: arch, spec: spec, packages: slices.Compact(packages), started: time.Now()}
	if err := b.checkTools(); err != nil {
		return provider.Image{}, err
	}
	if b.origin, err = thisOrigin(ctx); err != nil {
		return provider.Image{}, err
	}
	if b.inputs, err = b.digest(); err != nil {
		return provider.Image{}, err
	}
	return b.build(ctx)
}

// A builder makes one image.
type builder struct {
	p        *Provider
	arch     architecture
	spec     provider.BuildSpec
	packages []string
	origin   origin
	inputs   string
	started  time.Time
	draft    draft
}

func (b builder) stage(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.p.log.Debug("image build", "image", b.spec.Name, "stage", text, "elapsed", time.Since(b.started))
	if b.spec.Progress != nil {
		b.spec.Progress(text, time.Since(b.started))
	}
}

// tools are what a build runs, and the packages that hold them.
var tools = []struct{ program, pkg string }{
	{"apt-get", "apt"}, {"dpkg-deb", "dpkg"}, {"mmdebstrap", "mmdebstrap"}, {"mkfs.ext4", "e2fsprogs"}, {"qemu-img", "qemu-utils"}, {"tar", "tar"},
}

func (b builder) checkTools() error {
	wanted := slices.Clone(tools)
	if os.Geteuid() != 0 {
		wanted = append(wanted, struct{ program, pkg string }{"fakeroot", "fakeroot"}, struct{ program, pkg string }{"newuidmap", "uidmap"})
	}
	var programs, packages []string
	for _, t := range wanted {
		if _, err := lookTool(t.program); err != nil {
			programs, packages = append(programs, t.program), append(packages, t.pkg)
		}
	}
	if programs == nil {
		return nil
	}
	return fault.New(fault.ProviderRefused, "qemu: an image is built with %s, which this computer lacks", strings.Join(programs, ", ")).
		WithRemedy("Install: apt-get install %s", strings.Join(packages, " "))
}

// lookTool finds a program, also where only root's PATH leads.
func lookTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, e := exec.LookPath(filepath.Join(dir, name)); e == nil {
			return path, nil
		}
	}
	return "", err
}

// digest is that of everything that decides what the image is, but for the
// versions of its packages: those are new whenever it is built.
func (b builder) digest() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %q %q %q\n", recipeVersion, b.p.cfg.DiskGiB, b.packages, b.origin.sources, b.arch.debian)
	sources, err := guest.Sources()
	if err != nil {
		return "", fault.New(fault.Internal, "qemu: %w", err)
	}
	err = fs.WalkDir(sources, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := fs.ReadFile(sources, path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(content), content)
		return err
	})
	if err != nil {
		return "", fault.New(fault.Internal, "qemu: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (b builder) build(ctx context.Context) (built provider.Image, err error) {
	b.p.sweep(ctx)
	if b.draft, err = b.p.draft(ctx); err != nil {
		return provider.Image{}, err
	}
	defer func() { err = errors.Join(err, b.draft.discard()) }()
	building, err := acquire(ctx, b.p.path("build.lock"))
	if err != nil {
		return provider.Image{}, err
	}
	defer building.release()
	old, err := b.p.image(b.spec.Name)
	if err == nil && old.Inputs == b.inputs {
		b.stage("unchanged")
		return b.p.describeImage(old), nil
	}
	if err == nil && old.Inputs == "" {
		return provider.Image{}, fault.New(fault.NameTaken, "%s: image %s was saved from a machine, it is not built over", b.p.name, b.spec.Name)
	}
	if err != nil && !fault.Is(err, fault.UnknownImage) {
		return provider.Image{}, err
	}
	img := image{
		Name: b.spec.Name, Dir: b.spec.Name + "-" + randomName(), Disk: int64(b.p.cfg.DiskGiB) << 30,
		Platform: machine.Platform{OS: "linux", Arch: runtime.GOARCH}, Inputs: b.inputs,
	}
	if img.Layers, err = b.make(ctx); err != nil {
		return provider.Image{}, err
	}
	img.Created = time.Now()
	if err := img.sync(b.draft.dir); err != nil {
		return provider.Image{}, err
	}
	l, err := b.p.hold(ctx)
	if err != nil {
		return provider.Image{}, err
	}
	defer l.release()
	if err := b.p.publishImage(img, b.draft); err != nil {
		return provider.Image{}, err
	}
	b.stage("done")
	return b.p.describeImage(img), nil
}
