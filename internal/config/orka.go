package config

import (
	"context"
	"fmt"
	"os"

	"outrigger.dev/outrigger/internal/config/strict"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka"
)

func orkaToken(o orka.Config) source {
	return source{"token", o.TokenFile, o.TokenEnv, o.TokenCommand}
}

func orkaPassword(o orka.Config) source {
	return source{"password", o.PasswordFile, o.PasswordEnv, o.PasswordCommand}
}

// checkOrka finds what is wrong with an Orka provider, and makes its names of files absolute.
func (c *Config) checkOrka(path strict.Path, o *orka.Config) {
	if err := o.Check(); err != nil {
		c.doc.Report(path, "%s", err)
	}
	if orkaToken(*o).count() == 0 {
		c.doc.Report(path, "has no token: want one of tokenFile, tokenEnv, tokenCommand")
	}
	c.checkSource(path, orkaToken(*o))
	c.checkSource(path, orkaPassword(*o))
	for _, ref := range orkaFiles(o) {
		*ref.name = c.resolve(*ref.name)
	}
}

// orkaFiles are the places that name files.
func orkaFiles(o *orka.Config) (refs []fileRef) {
	for i := range o.KeyFiles {
		refs = append(refs, fileRef{strict.Path("keyFiles").Index(i), &o.KeyFiles[i]})
	}
	for key, name := range map[strict.Path]*string{"tokenFile": &o.TokenFile, "passwordFile": &o.PasswordFile, "caFile": &o.CAFile} {
		if *name != "" {
			refs = append(refs, fileRef{key, name})
		}
	}
	return refs
}

func (c *Config) checkOrkaFiles(path strict.Path, o *orka.Config) (warnings []string) {
	for _, ref := range orkaFiles(o) {
		warnings = append(warnings, c.checkFile(path, ref, ref.name == &o.TokenFile || ref.name == &o.PasswordFile)...)
	}
	return warnings
}

// resolveOrka reads the secrets of an Orka provider. The token can be read again: a user's
// ends after an hour, which a run may outlast.
func (c *Config) resolveOrka(ctx context.Context, name string, o orka.Config, s Secrets) (orka.Config, error) {
	var err error
	at := func(err error) error { return fmt.Errorf("provider %s: %w", name, err) }
	o.Refresh = func(ctx context.Context) (machine.Secret, error) { return s.read(ctx, orkaToken(o), c.dir()) }
	if o.Token, err = o.Refresh(ctx); err != nil {
		return o, at(err)
	}
	if o.Password, err = s.read(ctx, orkaPassword(o), c.dir()); err != nil {
		return o, at(err)
	}
	if o.CAFile != "" {
		b, err := os.ReadFile(o.CAFile)
		if err != nil {
			return o, at(fault.New(fault.Config, "caFile: %w", err))
		}
		o.CA = string(b)
	}
	return o, nil
}
