package qemu

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/rawpath"
)

// The provider's folder:
//
//	lock                      held while folders are made, published or removed
//	build.lock accel.lock     held while an image is built, while KVM is tried
//	machines/NAME/            record.json and all that the machine consists of
//	images/NAME.json          what the image is, and the name of its folder
//	images/ID/                kernel, initrd and the layers of its disk
//	snapshots/KEY/            memory and devices of a saved guest
//	accel.json                whether KVM works, by QEMU and kernel
//	new-X/                    something being made by whoever holds new-X/maker
//
// Disks are chains of qcow2 layers. A layer that another stands on is never
// written again, has a name that no other layer has, and is hard-linked into
// each folder that needs it, beside the layers on it. So each folder is whole by
// itself, the file system counts the users of a layer, and an image can be
// rebuilt or deleted while machines run on its old content.
const (
	lockFile     = "lock"
	machinesDir  = "machines"
	imagesDir    = "images"
	snapshotsDir = "snapshots"
	accelFile    = "accel.json"
	newPrefix    = "new-"
	makerFile    = "maker"

	recordFile      = "record.json"
	loginFile       = "login.pem"
	personalityFile = "personality"
	kernelFile      = "kernel"
	initrdFile      = "initrd"
)

func (p *Provider) path(names ...string) string {
	return filepath.Join(append([]string{p.dir}, names...)...)
}

// hold makes the provider's folder if needed and takes its lock.
func (p *Provider) hold(ctx context.Context) (lock, error) {
	for _, dir := range []string{machinesDir, imagesDir, snapshotsDir} {
		if err := os.MkdirAll(p.path(dir), 0o700); err != nil {
			return lock{}, fault.New(fault.LocalFile, "qemu: %w", err)
		}
	}
	return acquire(ctx, p.path(lockFile))
}

// A draft is a folder in which something is made before it gets its name.
type draft struct {
	dir   string
	maker lock
}

// draft makes a new folder that this process holds.
func (p *Provider) draft(ctx context.Context) (draft, error) {
	l, err := p.hold(ctx)
	if err != nil {
		return draft{}, err
	}
	defer l.release()
	dir := p.path(newPrefix + randomName())
	if err := os.Mkdir(dir, 0o700); err != nil {
		return draft{}, fault.New(fault.LocalFile, "qemu: %w", err)
	}
	maker, err := acquire(ctx, filepath.Join(dir, makerFile))
	if err != nil {
		return draft{}, errors.Join(err, os.RemoveAll(dir))
	}
	return draft{dir, maker}, nil
}

// publish gives the folder its name. The provider's lock must be held.
func (d draft) publish(path string) error {
	if err := os.Remove(filepath.Join(d.dir, makerFile)); err != nil {
		return fault.New(fault.LocalFile, "qemu: %w", err)
	}
	if err := os.Rename(d.dir, path); err != nil {
		return fault.New(fault.LocalFile, "qemu: %w", err)
	}
	return nil
}

// discard removes the folder if it was not published.
func (d draft) discard() error {
	defer d.maker.release()
	return os.RemoveAll(d.dir)
}

// sweep removes the drafts of processes that are gone, with the guests that
// ran in them. What it cannot remove now the next one will: nobody's work
// depends on it.
func (p *Provider) sweep(ctx context.Context) {
	drafts, err := rawpath.Glob(p.path(), newPrefix+"*")
	if err != nil || len(drafts) == 0 {
		return
	}
	l, err := p.hold(ctx)
	if err != nil {
		p.log.Warn("leftovers not removed", "error", err)
		return
	}
	defer l.release()
	for _, dir := range drafts {
		switch removed, err := p.sweepDraft(ctx, dir); {
		case err != nil:
			p.log.Warn("leftover not removed", "folder", dir, "error", err)
		case removed:
			p.log.Info("leftover removed", "folder", dir)
		}
	}
}

func (p *Provider) sweepDraft(ctx context.Context, dir string) (removed bool, err error) {
	maker, held, err := try(filepath.Join(dir, makerFile), exclusive)
	if errors.Is(err, fs.ErrNotExist) || held {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer maker.release()
	if err := (vm{dir, p.log}).stop(ctx); err != nil {
		return false, err
	}
	return true, os.RemoveAll(dir)
}

// writeJSON replaces a file in one step: nobody sees it half written.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.New(fault.Internal, "qemu: %s: %w", path, err)
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+randomName())
	if err := writeSynced(tmp, append(b, '\n')); err != nil {
		return errors.Join(localFile(err), os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(localFile(err), os.RemoveAll(tmp))
	}
	return nil
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// readJSON answers an error of kind fs.ErrNotExist where there is no file.
func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return localFile(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fault.New(fault.LocalFile, "qemu: %s: %w", path, err)
	}
	return nil
}

// syncFile makes a file safe from a power cut.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return localFile(err)
	}
	defer f.Close()
	return localFile(f.Sync())
}

// link makes path in each of the folders the same file.
func link(names []string, from, to string) error {
	for _, name := range names {
		if err := os.Link(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return localFile(err)
		}
	}
	return nil
}

func localFile(err error) error {
	if err == nil {
		return nil
	}
	if full(err) {
		return fault.New(fault.DiskFull, "qemu: %w", err)
	}
	return fault.New(fault.LocalFile, "qemu: %w", err)
}

func randomName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it crashes the program instead
	return hex.EncodeToString(b[:])
}

// entries lists the names in a folder, none if there is no folder. Names with a
// dot in front are being written.
func entries(dir string) ([]string, error) {
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, localFile(err)
	}
	var names []string
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
