package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

var (
	_ provider.ImageStore = (*Cloud)(nil)
	_ provider.ImageSaver = (*Cloud)(nil)
)

func (c *Cloud) imagePath(name string) string { return filepath.Join(c.Dir, "images", name) }

// Images implements provider.ImageStore.
func (c *Cloud) Images(ctx context.Context) ([]provider.Image, error) {
	if lost, err := c.trip(ctx); err != nil || lost {
		return nil, errors.Join(err, fault.New(fault.ProviderDown, "cloud: 504 Gateway Timeout"))
	}
	var all []provider.Image
	for _, name := range c.ImageNames() {
		data, err := os.ReadFile(c.imagePath(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted this moment
		}
		var i provider.Image
		if err := errors.Join(err, json.Unmarshal(data, &i)); err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// ImageNames returns the images that there are, in the order of their names.
func (c *Cloud) ImageNames() []string {
	entries, err := os.ReadDir(filepath.Join(c.Dir, "images"))
	if err != nil {
		return nil // then there are none
	}
	var all []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".tmp") {
			all = append(all, e.Name())
		}
	}
	return all
}

// PutImage makes an image that is there from the beginning, or says how one stands.
func (c *Cloud) PutImage(i provider.Image) error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return replace(c.imagePath(i.Name), data)
}

// DeleteImage implements provider.ImageStore.
func (c *Cloud) DeleteImage(ctx context.Context, name string) error {
	lost, err := c.trip(ctx)
	if err != nil {
		return err
	}
	for _, m := range c.Names() {
		if have, err := c.get(machine.Name(m)); err == nil && have.Image == name {
			return fault.New(fault.Busy, "cloud: image %s is used by machine %s", name, m)
		}
	}
	if err := os.Remove(c.imagePath(name)); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.UnknownImage, "cloud: no image %s", name)
	} else if err != nil {
		return err
	}
	if lost {
		return errLost
	}
	return nil
}

// SaveImage implements provider.ImageSaver.
func (c *Cloud) SaveImage(ctx context.Context, name machine.Name, image string) (provider.Image, error) {
	lost, err := c.trip(ctx)
	if err != nil {
		return provider.Image{}, err
	}
	m, err := c.get(name)
	if err != nil {
		return provider.Image{}, err
	}
	if _, err := os.Stat(c.imagePath(image)); err == nil {
		return provider.Image{}, fault.New(fault.NameTaken, "cloud: image %s exists", image)
	}
	i := provider.Image{Name: image, Provider: "cloud", Base: m.Image, Platform: m.Platform, Bytes: 1 << 30, Created: time.Now()}
	if err := c.PutImage(i); err != nil {
		return provider.Image{}, err
	}
	if lost {
		return provider.Image{}, errLost
	}
	return i, nil
}

// Known refuses machines of images that there are not; for Faults.AtCreate.
func (c *Cloud) Known(spec machine.Spec) error {
	if _, err := os.Stat(c.imagePath(spec.Image)); spec.Image == "" || err != nil {
		return fault.New(fault.UnknownImage, "cloud: no image %q", spec.Image)
	}
	return nil
}
