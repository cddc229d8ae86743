package config

import (
	"fmt"
	"os"
	"path"
	"strings"

	"outrigger.dev/outrigger/internal/config/strict"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/sshhost"
)

// check finds what is wrong beyond types and keys, without looking at anything
// but the file. What it mends on the way are names of files.
func (c *Config) check() {
	if _, ok := c.Providers[c.Default]; c.Default != "" && !ok {
		hint := ", there are: " + strings.Join(c.Names(), ", ")
		if near, ok := strict.Nearest(c.Default, c.Names()); ok {
			hint = fmt.Sprintf(", did you mean %q?", near)
		}
		c.doc.Report("default", "no provider is called %q%s", c.Default, hint)
	}
	for _, name := range c.Names() {
		entry := strict.Path("providers").Key(name)
		if _, err := machine.ParseName(name); err != nil {
			c.doc.Report(entry, "provider name %q: want at most 63 of a-z, 0-9 and \"-\", starting and ending with a letter or digit", name)
		}
		c.checkEntry(entry, c.Providers[name])
	}
	if at := strings.TrimRight(c.Run.At, "/"); c.Run.At != "" && (!path.IsAbs(at) || path.Clean(at) != at) {
		c.doc.Report("run.at", "%q: want an absolute path with forward slashes, such as /workspace", c.Run.At)
	}
	switch c.Run.Conflict {
	case "", "fail", "keep-both", "here", "there":
	default:
		c.doc.Report("run.conflict", "%q: want fail, keep-both, here or there", c.Run.Conflict)
	}
	for name := range c.Run.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			c.doc.Report(strict.Path("run").Key("env").Key(name), "%q cannot be the name of a variable", name)
		}
	}
}

func (c *Config) checkEntry(path strict.Path, e Entry) {
	var types []string
	if e.Local != nil {
		types = append(types, "local")
	}
	if e.SSH != nil {
		types = append(types, "ssh")
		c.checkSSH(path.Key("ssh"), e.SSH)
	}
	if e.QEMU != nil {
		types = append(types, "qemu")
		if err := e.QEMU.Check(); err != nil {
			c.doc.Report(path.Key("qemu"), "%s", err)
		}
	}
	if e.Orka != nil {
		types = append(types, "orka")
		c.checkOrka(path.Key("orka"), e.Orka)
	}
	c.checkVia(path, e)
	switch {
	case len(types) == 0 && c.clean(path):
		c.doc.Report(path, "says no type: want one of local, ssh, qemu, orka")
	case len(types) > 1:
		c.doc.Report(path, "says %s: want exactly one type", strings.Join(types, " and "))
	}
}

// clean tells whether nothing was wrong so far at or in path's line: a mistyped
// type was reported already and needs no second complaint.
func (c *Config) clean(path strict.Path) bool {
	at := c.doc.At(path)
	for _, p := range c.doc.Problems {
		if p.Line >= at.Line && p.Line <= at.Line+1 {
			return false
		}
	}
	return true
}

func (c *Config) checkSSH(path strict.Path, ssh *sshhost.Config) {
	if len(ssh.Hosts) == 0 {
		c.doc.Report(path, "lists no hosts")
	}
	names := map[string]bool{}
	for i := range ssh.Hosts {
		h := &ssh.Hosts[i]
		at := path.Key("hosts").Index(i)
		if h.Name != "" && names[h.Name] {
			c.doc.Report(at.Key("name"), "a second host called %q", h.Name)
		}
		names[h.Name] = true
		if h.Slots < 0 {
			c.doc.Report(at.Key("slots"), "%d slots: want at least 1", h.Slots)
		}
		c.checkLogin(at, &h.Login)
		for j := range h.Jump {
			c.checkLogin(at.Key("jump").Index(j), &h.Jump[j])
		}
	}
}

func (c *Config) checkLogin(path strict.Path, l *sshhost.Login) {
	if l.Address == "" && c.clean(path) {
		c.doc.Report(path, "has no address")
	}
	if l.Port < 0 || l.Port > 65535 {
		c.doc.Report(path.Key("port"), "%d is no port: want 1 to 65535", l.Port)
	}
	c.checkSource(path, source{"password", l.PasswordFile, l.PasswordEnv, l.PasswordCommand})
	for _, file := range files(l) {
		*file.name = c.resolve(*file.name)
	}
}

// A fileRef is a place in the configuration that names a file.
type fileRef struct {
	key  strict.Path // below the login
	name *string
}

func files(l *sshhost.Login) []fileRef {
	var refs []fileRef
	for _, list := range []struct {
		key   strict.Path
		names []string
	}{{"keyFiles", l.KeyFiles}, {"certFiles", l.CertFiles}, {"knownHosts", l.KnownHosts}} {
		for i := range list.names {
			refs = append(refs, fileRef{list.key.Index(i), &list.names[i]})
		}
	}
	if l.PasswordFile != "" {
		refs = append(refs, fileRef{"passwordFile", &l.PasswordFile})
	}
	return refs
}

// CheckFiles finds the files that the configuration names and that are not
// there or are open to others than their owner. Only outrigger config check does
// this for all providers: a run should not fail for a file that it does not need.
func (c *Config) CheckFiles() (warnings []string, err error) {
	for _, name := range c.Names() {
		e := c.Providers[name]
		warnings = append(warnings, c.checkViaFiles(strict.Path("providers").Key(name), e)...)
		if e.Orka != nil {
			warnings = append(warnings, c.checkOrkaFiles(strict.Path("providers").Key(name).Key("orka"), e.Orka)...)
		}
		if e.SSH == nil {
			continue
		}
		for i := range e.SSH.Hosts {
			at := strict.Path("providers").Key(name).Key("ssh").Key("hosts").Index(i)
			h := &e.SSH.Hosts[i]
			warnings = append(warnings, c.checkFiles(at, &h.Login)...)
			for j := range h.Jump {
				warnings = append(warnings, c.checkFiles(at.Key("jump").Index(j), &h.Jump[j])...)
			}
		}
	}
	return warnings, c.problems()
}

func (c *Config) checkFiles(path strict.Path, l *sshhost.Login) (warnings []string) {
	for _, ref := range files(l) {
		warnings = append(warnings, c.checkFile(path, ref, ref.name == &l.PasswordFile)...)
	}
	return warnings
}

// checkFile looks whether a file that the configuration names is there, and if it is secret
// whether others may read it.
func (c *Config) checkFile(path strict.Path, ref fileRef, secret bool) (warnings []string) {
	f, err := os.Open(*ref.name)
	if err != nil {
		c.doc.Report(path+"."+ref.key, "%v", err)
		return nil
	}
	if secret {
		warnings = tooOpen(f)
	}
	_ = f.Close() // nothing was written
	return warnings
}

// ReportEntry adds what a provider itself found wrong with its entry.
func (c *Config) ReportEntry(name string, err error) {
	c.doc.Report(strict.Path("providers").Key(name), "%s: %s", name, err)
}

// Problems returns all mistakes found until now as one fault, nil without any.
func (c *Config) Problems() error { return c.problems() }
