//go:build linux

package orka_test

import (
	"slices"
	"sync"
	"testing"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/orka"
	"outrigger.dev/outrigger/internal/reach"
)

func on(t *testing.T, m machine.Machine, command string) string {
	t.Helper()
	c, err := reach.Dial(t.Context(), m.Endpoint, reach.Options{})
	if err != nil {
		t.Fatalf("machine %s: %v", m.Name, err)
	}
	defer c.Close()
	out, exit, err := c.Output(t.Context(), command, nil)
	if exit != 0 || err != nil {
		t.Fatalf("machine %s: %s: exit %d, %v", m.Name, command, exit, err)
	}
	return string(out)
}

func create(t *testing.T, p provider.Provider, name machine.Name, image string) machine.Machine {
	t.Helper()
	s := spec(name)
	s.Image = image
	m, err := p.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestImages(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, func(c *devorka.Config) { c.Hosts = 2 })
		cfg := config(t, s, door)
		cfg.Token = token(t, s, devorka.Grant{Role: "orka-admin"})
		p := open(t, cfg, t.TempDir())
		first := create(t, p, "mac-a", "")
		on(t, first, "echo one >$HOME/made")
		saved, err := p.SaveImage(t.Context(), "mac-a", "with-one")
		if err != nil {
			t.Fatal(err)
		}
		if saved.Name != "with-one" || saved.Base != first.Image {
			t.Errorf("saved as %+v, from %s", saved, first.Image)
		}
		if first, err = p.Get(t.Context(), "mac-a"); err != nil {
			t.Fatal(err)
		}
		if got := on(t, first, "cat $HOME/made"); got != "one\n" {
			t.Errorf("the machine that was saved has %q", got)
		}
		second := create(t, p, "mac-b", "with-one")
		if got := on(t, second, "cat $HOME/made"); got != "one\n" {
			t.Errorf("a machine of the image has %q", got)
		}

		_, err = p.SaveImage(t.Context(), "mac-a", "with-one")
		wants(t, "a second image of that name", err, fault.NameTaken, "with-one")
		_, err = p.SaveImage(t.Context(), "mac-none", "other")
		wants(t, "an image of no machine", err, fault.UnknownMachine)
		wants(t, "deletion of an image in use", p.DeleteImage(t.Context(), "with-one"), fault.Busy, "mac-b")

		on(t, second, "echo two >$HOME/made")
		if _, err := p.CommitImage(t.Context(), "mac-b"); err != nil {
			t.Fatal(err)
		}
		if err := p.Delete(t.Context(), "mac-b"); err != nil {
			t.Fatal(err)
		}
		third := create(t, p, "mac-c", "with-one")
		if got := on(t, third, "cat $HOME/made"); got != "two\n" {
			t.Errorf("a machine of the committed image has %q", got)
		}
		if err := p.Delete(t.Context(), "mac-c"); err != nil {
			t.Fatal(err)
		}
		_, err = p.CommitImage(t.Context(), "mac-a")
		wants(t, "commit to a registry's image", err, fault.ProviderRefused, "registry")

		const reference = "ghcr.io/example/mac:1"
		err = p.PushImage(t.Context(), "mac-a", reference)
		if door == orka.DoorREST {
			wants(t, "push", err, fault.ProviderRefused, "Kubernetes")
		} else {
			if err != nil {
				t.Fatal(err)
			}
			if got := on(t, create(t, p, "mac-d", reference), "cat $HOME/made"); got != "one\n" {
				t.Errorf("a machine of the pushed image has %q", got)
			}
		}

		names := func() (all []string) {
			images, err := p.Images(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range images {
				all = append(all, i.Name)
			}
			return all
		}
		if got := names(); !slices.Contains(got, "with-one") {
			t.Errorf("images %v", got)
		}
		if err := p.DeleteImage(t.Context(), "with-one"); err != nil {
			t.Error(err)
		}
		if got := names(); slices.Contains(got, "with-one") {
			t.Errorf("images %v after the deletion", got)
		}
		wants(t, "deletion of no image", p.DeleteImage(t.Context(), "with-one"), fault.UnknownImage)
	})
}

func TestImagesAreFetchedBeforehand(t *testing.T) {
	eachDoor(t, func(t *testing.T, door orka.Door) {
		s := cluster(t, func(c *devorka.Config) { c.Hosts = 2 })
		cfg := config(t, s, door)
		p := open(t, cfg, t.TempDir())
		var mu sync.Mutex
		done := map[string]error{}
		err := p.CacheImage(t.Context(), "ghcr.io/macstadium/orka-images/sequoia:latest", nil, func(node string, err error) {
			mu.Lock()
			defer mu.Unlock()
			done[node] = err
		})
		if err != nil || len(done) != 2 {
			t.Errorf("fetched on %v, %v; want two nodes", done, err)
		}
		if got := vms(s); len(got) != 0 {
			t.Errorf("VMs %v are left", got)
		}
		wants(t, "an unknown node", p.CacheImage(t.Context(), "x", []string{"nowhere"}, nil), fault.Usage, "nowhere")
		if err := p.CacheImage(t.Context(), "no-such-image", nil, nil); err == nil {
			t.Error("an unknown image was fetched")
		}
		if got := vms(s); len(got) != 0 {
			t.Errorf("VMs %v are left", got)
		}
	})
}

func TestPullAndUncache(t *testing.T) {
	s := cluster(t, func(c *devorka.Config) { c.Hosts = 1 })
	cfg := config(t, s, orka.DoorREST)
	cfg.Token = token(t, s, devorka.Grant{Role: "orka-admin"})
	p := open(t, cfg, t.TempDir())
	const remote = "90gbventurassh.orkasi" // what the catalogue has
	pulled, err := p.PullImage(t.Context(), remote, "ventura")
	if err != nil || pulled.Name != "ventura" || pulled.State != "" {
		t.Fatalf("pulled %+v, %v", pulled, err)
	}
	create(t, p, "mac-a", "ventura")
	_, err = p.PullImage(t.Context(), remote, "ventura")
	wants(t, "a second pull", err, fault.NameTaken, "ventura")
	_, err = p.PullImage(t.Context(), "nothing", "other")
	wants(t, "a pull of nothing", err, fault.UnknownImage, "nothing")
	_, err = p.PullImage(t.Context(), "ghcr.io/macstadium/orka-images/sequoia:latest", "other")
	wants(t, "a pull from a registry", err, fault.ProviderRefused, "ghcr.io")

	if err := p.UncacheImage(t.Context(), "ventura", nil); err != nil {
		t.Error(err)
	}
	if err := p.UncacheImage(t.Context(), "ventura", []string{"mini-arm-1"}); err != nil {
		t.Error(err)
	}
	cfg.Fields = map[string]string{"imagecacheRemovePath": "/not/there"}
	wants(t, "an Orka without the call", open(t, cfg, t.TempDir()).UncacheImage(t.Context(), "ventura", nil), fault.ProviderRefused, "no call")
}
