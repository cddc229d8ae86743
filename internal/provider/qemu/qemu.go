// Package qemu is a provider of real virtual machines on this computer,
// through QEMU: KVM where a guest boots on it, emulation elsewhere.
//
// A machine is a folder and the process in it; there is no daemon and nothing
// in memory, so any number of programs may use the same folder, and each may be
// killed at any instruction. What they leave is found again from the folder:
// a machine that was being made is made anew by the next Create of its name and
// removed by Delete, and what had no name yet is removed by whoever comes next.
//
// Most machines are not booted. A guest is booted once for each size, as far as
// the point where it waits to learn who it is (package guest), and saved; each
// machine resumes from there with its own disk and personality. Where that
// fails for any reason, the machine boots.
//
// Machines are alone in networks of their own. Unless the provider is
// isolated they reach what this computer's user reaches, its loopback
// interface included (as 10.0.2.2); nothing reaches them but SSH through a port
// of this computer's loopback interface.
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

// New returns the provider of the configured name. It keeps its files in
// "<state>/qemu"; providers of different names share the images there and see
// only their own machines. It touches nothing yet: that QEMU is missing is told
// by the first call that needs it.
func New(name string, cfg Config, state string, log *slog.Logger) (*Provider, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Join(state, "qemu"))
	if err != nil {
		return nil, fault.New(fault.Internal, "qemu: state folder %s: %w", state, err)
	}
	return &Provider{name: name, dir: dir, cfg: cfg.Defaults(), log: log}, nil
}
