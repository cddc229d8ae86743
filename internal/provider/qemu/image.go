package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// An image is the file images/NAME.json. A rebuilt image gets a new folder and
// then a new file, in one rename.
type image struct {
	Name     string           `json:"name"`
	Base     string           `json:"base,omitempty"` // the image that it was saved from
	Dir      string           `json:"dir"`            // its folder, below images
	Layers   []string         `json:"layers"`         // of its disk, lowest first
	Disk     int64            `json:"disk"`           // size as guests see it
	Platform machine.Platform `json:"platform"`
	Created  time.Time        `json:"created"`
	Inputs   string           `json:"inputs,omitempty"` // digest of what it was built from
}

const imageSuffix = ".json"

// files are the names of what is in the image's folder.
func (i image) files() []string { return append([]string{kernelFile, initrdFile}, i.Layers...) }

// sync makes the image's files in dir safe from a power cut.
func (i image) sync(dir string) error {
	for _, name := range i.files() {
		if err := syncFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// image reads what the named image is; a fault of kind UnknownImage if there is none.
func (p *Provider) image(name string) (image, error) {
	var img image
	if err := checkImageName(name); err != nil {
		return img, fault.New(fault.UnknownImage, "%s: %w", p.name, err)
	}
	err := readJSON(p.path(imagesDir, name+imageSuffix), &img)
	if !errors.Is(err, fs.ErrNotExist) {
		return img, err
	}
	missing := fault.New(fault.UnknownImage, "%s: no image %s", p.name, name)
	if name == baseImage {
		missing = missing.WithRemedy("Build it once, it takes about a minute: outrigger image build --provider %s", p.name)
	}
	return img, missing
}

func (p *Provider) allImages() ([]image, error) {
	names, err := entries(p.path(imagesDir))
	if err != nil {
		return nil, err
	}
	var all []image
	for _, name := range names {
		name, isImage := strings.CutSuffix(name, imageSuffix)
		if !isImage {
			continue
		}
		img, err := p.image(name)
		if fault.Is(err, fault.UnknownImage) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, img)
	}
	return all, nil
}

// describeImage counts the bytes on disk, layers that are shared with other
// images included.
func (p *Provider) describeImage(img image) provider.Image {
	d := provider.Image{Name: img.Name, Provider: p.name, Base: img.Base, Platform: img.Platform, Created: img.Created}
	for _, name := range img.files() {
		if fi, err := os.Stat(p.path(imagesDir, img.Dir, name)); err == nil {
			d.Bytes += fi.Size()
		}
	}
	return d
}

// Images implements [provider.ImageStore].
func (p *Provider) Images(context.Context) ([]provider.Image, error) {
	all, err := p.allImages()
	if err != nil {
		return nil, err
	}
	var described []provider.Image
	for _, img := range all {
		described = append(described, p.describeImage(img))
	}
	return described, nil
}

// DeleteImage implements [provider.ImageStore]. The files would survive for
// those who use them; it is refused all the same, because people would look for
// the image that a machine says it was made from.
func (p *Provider) DeleteImage(ctx context.Context, name string) error {
	l, err := p.hold(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	if _, err := p.image(name); err != nil {
		return err
	}
	machines, err := p.records()
	if err != nil {
		return err
	}
	for _, r := range machines {
		if r.Image == name {
			return fault.New(fault.Busy, "%s: image %s is used by machine %s", p.name, name, r.Name).
				WithRemedy("Delete the machine first: outrigger vm delete %s", r.Name)
		}
	}
	images, err := p.allImages()
	if err != nil {
		return err
	}
	for _, other := range images {
		if other.Base == name {
			return fault.New(fault.Busy, "%s: image %s is the base of image %s", p.name, name, other.Name).
				WithRemedy("Delete that image first: outrigger image delete %s", other.Name)
		}
	}
	if err := os.Remove(p.path(imagesDir, name+imageSuffix)); err != nil {
		return localFile(err)
	}
	return p.tidyImages()
}

// publishImage gives an image its name, in place of the image that had it. The
// provider's lock must be held.
func (p *Provider) publishImage(img image, d draft) error {
	if err := d.publish(p.path(imagesDir, img.Dir)); err != nil {
		return err
	}
	if err := writeJSON(p.path(imagesDir, img.Name+imageSuffix), img); err != nil {
		return err
	}
	return p.tidyImages()
}

// tidyImages removes folders of images that have no name any more, and saved
// guests that no image boots. Machines keep the files of theirs, and the memory
// that they map. The provider's lock must be held.
func (p *Provider) tidyImages() error {
	images, err := p.allImages()
	if err != nil {
		return err
	}
	boots := map[string]bool{}
	dirs := map[string]bool{}
	for _, img := range images {
		dirs[img.Dir] = true
		boot, err := bootKey(p.path(imagesDir, img.Dir))
		if err != nil {
			return err
		}
		boots[boot] = true
	}
	names, err := entries(p.path(imagesDir))
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, imageSuffix) || dirs[name] {
			continue
		}
		if err := os.RemoveAll(p.path(imagesDir, name)); err != nil {
			return localFile(err)
		}
	}
	return p.tidySnapshots(func(s snapshot) bool { return boots[s.Boot] })
}

func (p *Provider) tidySnapshots(wanted func(snapshot) bool) error {
	names, err := entries(p.path(snapshotsDir))
	if err != nil {
		return err
	}
	for _, name := range names { // with the locks of those who make one, which notice that they are gone
		var s snapshot
		err := readJSON(p.path(snapshotsDir, name, snapshotFile), &s)
		if err == nil && wanted(s) {
			continue
		}
		if err := os.RemoveAll(p.path(snapshotsDir, name)); err != nil {
			return localFile(err)
		}
	}
	return nil
}

// bootKey is the digest of what is booted from a folder: whatever else an
// image has, its guests wait for a personality in the same state.
func bootKey(dir string) (string, error) {
	h := sha256.New()
	for _, name := range []string{kernelFile, initrdFile} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return "", localFile(err)
		}
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", localFile(err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
