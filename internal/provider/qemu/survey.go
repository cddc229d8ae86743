package qemu

import (
	"context"
	"os"
	"os/exec"
	"strings"
)

// A Survey is what this computer has to make machines with.
type Survey struct {
	Unsupported bool   // no machines on a computer of this kind
	Path        string // of the emulator; "": it is not there
	Version     string
	Missing     []string // programs beside it
	NoKVM       string   // why KVM's device cannot be used; "": it can be opened
	Accel       Accel
	Image       string
	Max         int
}

// Survey looks what is there. It makes no machine and changes nothing.
func (p *Provider) Survey(ctx context.Context) (Survey, error) {
	s := Survey{Accel: p.cfg.Accel, Image: p.cfg.Image, Max: p.cfg.Max}
	if _, err := thisArchitecture(); err != nil {
		s.Unsupported = true
		return s, err
	}
	_, path, err := p.emulator()
	if err != nil {
		return s, err
	}
	s.Path = path
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return s, err
	}
	s.Version, _, _ = strings.Cut(string(out), "\n")
	if _, err := exec.LookPath("qemu-img"); err != nil {
		s.Missing = append(s.Missing, "qemu-img")
	}
	device, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	if err != nil {
		s.NoKVM = err.Error()
		return s, nil
	}
	device.Close()
	return s, nil
}
