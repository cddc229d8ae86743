// Package config reads the one file in which a user says which machines there
// are and how commands run on them:
//
//	default: macs              # the provider that is used without --on
//	providers:
//	  macs:                    # a name of your own
//	    ssh:                   # exactly one of: local, ssh, qemu, orka
//	      hosts:
//	        - address: mini.example.com
//	          user: ci
//	          passwordCommand: [pass, show, mini]
//	  big:
//	    qemu: {cpus: 4, memoryMiB: 8192}
//	run:                       # defaults of outrigger run, each also a flag
//	  exclude: [node_modules/, .DS_Store]
//	  timeout: 1h
//
// Without a file there are the providers "local" and "qemu" with their
// defaults; a file may say something else under these names. Mistakes are found all
// at once, with their line and column. Secrets are read only when a provider
// is used.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/config/strict"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/provider/orka"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/sshhost"
	"outrigger.dev/outrigger/internal/reach/via"
)

// A Config is what the file says, with the built-in providers added.
type Config struct {
	File      string           `yaml:"-"`       // where it was read from; "": nowhere
	Default   string           `yaml:"default"` // the provider to use when none is named
	Providers map[string]Entry `yaml:"providers"`
	Run       Run              `yaml:"run"`

	home string
	doc  *strict.Document
}

// An Entry is one provider: exactly one of its fields but Via is set.
type Entry struct {
	// Via is passed in order on the way to the provider's API and to its machines.
	Via []via.Step `yaml:"via"`

	Local *local.Config   `yaml:"local"`
	SSH   *sshhost.Config `yaml:"ssh"`
	QEMU  *qemu.Config    `yaml:"qemu"`
	Orka  *orka.Config    `yaml:"orka"`
}

// Run holds the defaults of outrigger run. A flag given there wins; excludes
// and environment add up.
type Run struct {
	Exclude     []string          `yaml:"exclude"`     // gitignore-style patterns that are not synced
	Env         map[string]string `yaml:"env"`         // environment of the command
	Image       string            `yaml:"image"`       // what machines are made from
	At          string            `yaml:"at"`          // absolute path of the folder on the machine
	Conflict    string            `yaml:"conflict"`    // fail, keep-both, here or there: about a file that both sides changed
	Timeout     time.Duration     `yaml:"timeout"`     // of the command; 0: none
	Absence     time.Duration     `yaml:"absence"`     // how long a run goes on without a client
	BootTimeout time.Duration     `yaml:"bootTimeout"` // until SSH answers
	Expires     time.Duration     `yaml:"expires"`     // when anybody may delete a machine that was left
	Retain      time.Duration     `yaml:"retain"`      // how long a machine is kept for results that are not all here
}

// The limits that count where neither the file nor a flag says anything.
const (
	DefaultProvider    = "local"
	DefaultAbsence     = 10 * time.Minute
	DefaultBootTimeout = 3 * time.Minute
	DefaultExpires     = 24 * time.Hour
	DefaultRetain      = 24 * time.Hour
)

// Load reads the file at path, relative names in it from its folder. When it
// does not exist, that is a mistake if the user named it (explicit), else
// the built-in providers are all there is.
func Load(path string, explicit bool, home string) (*Config, error) {
	c := &Config{home: home}
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		c.File = path
	case errors.Is(err, fs.ErrNotExist) && !explicit:
	default:
		return nil, fault.New(fault.Config, "config: %w", err)
	}
	return c, c.read(data)
}

// Parse is Load of a file that was read already.
func Parse(path string, data []byte, home string) (*Config, error) {
	c := &Config{File: path, home: home}
	return c, c.read(data)
}

func (c *Config) read(data []byte) error {
	c.doc = strict.Decode(data, c)
	c.addBuiltins()
	c.check()
	c.applyDefaults()
	return c.problems()
}

func (c *Config) addBuiltins() {
	if c.Providers == nil {
		c.Providers = map[string]Entry{}
	}
	for name, entry := range map[string]Entry{"local": {Local: &local.Config{}}, "qemu": {QEMU: &qemu.Config{}}} {
		if _, ok := c.Providers[name]; !ok {
			c.Providers[name] = entry
		}
	}
}

func (c *Config) applyDefaults() {
	if c.Default == "" {
		c.Default = DefaultProvider
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.Run.Absence, DefaultAbsence}, {&c.Run.BootTimeout, DefaultBootTimeout}, {&c.Run.Expires, DefaultExpires}, {&c.Run.Retain, DefaultRetain}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

// problems makes one error of all mistakes found so far.
func (c *Config) problems() error {
	found := c.doc.Problems
	sort.SliceStable(found, func(i, j int) bool { return found[i].Line < found[j].Line })
	lines := make([]string, len(found))
	for i, p := range found {
		lines[i] = c.File + ": " + p.Text
		if p.Line > 0 {
			lines[i] = fmt.Sprintf("%s:%d:%d: %s", c.File, p.Line, p.Column, p.Text)
		}
	}
	switch len(lines) {
	case 0:
		return nil
	case 1:
		return fault.New(fault.Config, "config: %s", lines[0])
	}
	return fault.New(fault.Config, "config: %s: %d mistakes", c.File, len(lines)).WithDetail(strings.Join(lines, "\n"))
}

// Names returns the names of the providers, sorted.
func (c *Config) Names() []string {
	names := make([]string, 0, len(c.Providers))
	for name := range c.Providers {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Provider returns the entry called name, the default one for "".
func (c *Config) Provider(name string) (string, Entry, error) {
	if name == "" {
		name = c.Default
	}
	e, ok := c.Providers[name]
	if ok {
		return name, e, nil
	}
	hint := ", there are: " + strings.Join(c.Names(), ", ")
	if near, ok := strict.Nearest(name, c.Names()); ok {
		hint = fmt.Sprintf(", did you mean %q?", near)
	}
	return "", Entry{}, fault.New(fault.UnknownProvider, "provider %q: not configured%s", name, hint)
}

// Type returns the key under which the entry is configured: "local", "ssh", "qemu" or "orka".
func (e Entry) Type() string {
	switch {
	case e.Local != nil:
		return "local"
	case e.SSH != nil:
		return "ssh"
	case e.QEMU != nil:
		return "qemu"
	case e.Orka != nil:
		return "orka"
	}
	return ""
}

// dir is where relative names in the file start.
func (c *Config) dir() string { return filepath.Dir(c.File) }

// Config returns the entry as package provider/all wants it, without its secrets.
func (e Entry) Config() any {
	switch {
	case e.Local != nil:
		return *e.Local
	case e.SSH != nil:
		return *e.SSH
	case e.QEMU != nil:
		return *e.QEMU
	case e.Orka != nil:
		return *e.Orka
	}
	return nil
}

// EnvNames returns the names of the variables that runs are given, sorted.
func (c *Config) EnvNames() []string {
	var names []string
	for name := range c.Run.Env {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
