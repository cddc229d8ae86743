package config

import (
	"context"
	"fmt"
	"os"

	"outrigger.dev/outrigger/internal/config/strict"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach/via"
)

func viaSource(s via.Step) source {
	return source{"password", s.PasswordFile, s.PasswordEnv, s.PasswordCommand}
}

// checkVia finds what is wrong with the way to a provider's machines, and makes its names
// of files absolute.
func (c *Config) checkVia(path strict.Path, e Entry) {
	if len(e.Via) > 0 && (e.Local != nil || e.QEMU != nil) {
		c.doc.Report(path.Key("via"), "machines of %s are on this computer: nothing is on the way to them", e.Type())
	}
	for i := range e.Via {
		at := path.Key("via").Index(i)
		s := &e.Via[i]
		if err := s.Check(); err != nil {
			if c.clean(at) {
				c.doc.Report(at, "%s", err)
			}
			continue
		}
		if s.WireGuard != "" && i > 0 {
			c.doc.Report(at, "a WireGuard tunnel can only be the first step: it needs UDP, which proxies do not carry")
		}
		c.checkSource(at, viaSource(*s))
		for _, ref := range viaFiles(s) {
			*ref.name = c.resolve(*ref.name)
		}
	}
}

// viaFiles are the places that name files.
func viaFiles(s *via.Step) (refs []fileRef) {
	for key, name := range map[strict.Path]*string{"passwordFile": &s.PasswordFile, "caFile": &s.CAFile, "wireguard": &s.WireGuard} {
		if *name != "" {
			refs = append(refs, fileRef{key, name})
		}
	}
	return refs
}

func (c *Config) checkViaFiles(path strict.Path, e Entry) (warnings []string) {
	for i := range e.Via {
		s := &e.Via[i]
		for _, ref := range viaFiles(s) {
			warnings = append(warnings, c.checkFile(path.Key("via").Index(i), ref, ref.name != &s.CAFile)...)
		}
	}
	return warnings
}

// Via returns the way to the machines of the entry called name, with its secrets read.
func (c *Config) Via(ctx context.Context, name string, s Secrets) ([]machine.Via, error) {
	_, e, err := c.Provider(name)
	if err != nil {
		return nil, err
	}
	var out []machine.Via
	for _, step := range e.Via {
		if err := s.fillVia(ctx, &step, c.dir()); err != nil {
			return nil, fmt.Errorf("provider %s: via: %w", name, err)
		}
		out = append(out, step.Via())
	}
	return out, nil
}

func (s Secrets) fillVia(ctx context.Context, step *via.Step, dir string) (err error) {
	if step.Password, err = s.read(ctx, viaSource(*step), dir); err != nil {
		return err
	}
	read := func(key, file string) (string, error) {
		if file == "" {
			return "", nil
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fault.New(fault.Config, "%s: %w", key, err)
		}
		return string(b), nil
	}
	tunnel, err := read("wireguard", step.WireGuard)
	if err != nil {
		return err
	}
	step.Tunnel = machine.NewSecret(tunnel)
	step.CA, err = read("caFile", step.CAFile)
	return err
}
