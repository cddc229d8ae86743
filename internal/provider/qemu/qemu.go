// Package qemu is a provider of real virtual machines on this computer,
// through QEMU: KVM where a guest boots on it, emulation elsewhere.
package qemu

import (
	"log/slog"
	"path/filepath"
	"regexp"

	"outrigger.dev/outrigger/internal/fault"
)

var imageName = regexp.MustCompile(`^[a-z0-9][-._a-z0-9]{0,62}$`)

// A Provider makes machines with QEMU. It keeps nothing in memory: all it
// knows is in its folder and in the processes that run, so that any number of
// programs may share the folder.
type Provider struct {
	name string
	dir  string
	cfg  Config
	log  *slog.Logger
}

// New returns the provider of the configured name that keeps its machines and
// images below stateDir. It touches nothing yet: that QEMU is missing is told
// by the first call that needs it.
func New(name string, cfg Config, stateDir string, log *slog.Logger) (*Provider, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(stateDir)
	if err != nil {
		return nil, fault.New(fault.Internal, "qemu: state folder %s: %w", stateDir, err)
	}
	return &Provider{name: name, dir: dir, cfg: cfg.Defaults(), log: log}, nil
}
