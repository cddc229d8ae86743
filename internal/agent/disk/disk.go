// Package disk knows what the agent keeps on the machine and where: the folders below
// its root, the records lease.json and run.json, and the lock that keeps
// processes apart.
//
//	<root>/agents/<sha256>/outrigger-agent
//	<root>/daemon/<sha256>/             socket, log
//	<root>/home.json                    what the clean home is like (package home)
//	<root>/left.json                    what leases left behind elsewhere, a list of Left
//	<root>/leases/<lease>/lease.json    a Lease
//	<root>/leases/<lease>/work/         the synced folder
//	<root>/leases/<lease>/sync/         the far side's baseline
//	<root>/leases/<lease>/runs/<run>/   run.json, a Run; script; output log
//	<root>/leases/<lease>/tmp/          TMPDIR of runs, where /tmp does not serve
//	/tmp/o-<root>-<random>/             TMPDIR of runs, in the lease's record
package disk

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A Root is the agent's folder on the machine, absolute.
type Root string

// Leases is where the leases are.
func (r Root) Leases() string { return filepath.Join(string(r), "leases") }

// At is where absolute paths are led to that cannot be made for one lease
// alone (macOS, see package link).
func (r Root) At() string { return filepath.Join(string(r), "at") }

// Home is the record of what the user's home is like when it is clean.
func (r Root) Home() string { return filepath.Join(string(r), "home.json") }

// Daemon is the folder of the daemon of one build of the agent.
func (r Root) Daemon(digest string) string { return filepath.Join(string(r), "daemon", digest) }

// Lease is the folder of one lease. A name that is none, and could lead
// elsewhere, is a fault.
func (r Root) Lease(name string) (LeaseDir, error) {
	if _, err := machine.ParseName(name); err != nil {
		return "", fault.New(fault.Protocol, "lease: %w", err)
	}
	return LeaseDir(filepath.Join(r.Leases(), name)), nil
}

// A LeaseDir is the folder of a lease.
type LeaseDir string

// Work is the synced folder, or the folder at rel below it. What leads out of
// it is a fault.
func (d LeaseDir) Work(rel string) (string, error) {
	return below(filepath.Join(string(d), "work"), rel)
}

// Sync is where the far side's baseline of the folder at rel is kept.
func (d LeaseDir) Sync(rel string) (string, error) {
	return below(filepath.Join(string(d), "sync"), rel)
}

// Tmp is TMPDIR of the lease's runs, where none could be made whose path is shorter ([Root.MakeTmp]).
func (d LeaseDir) Tmp() string { return filepath.Join(string(d), "tmp") }

// Reserve is a file that takes space, to be given up when a disk that the lease's own results have filled keeps
// them from being fetched.
func (d LeaseDir) Reserve() string { return filepath.Join(string(d), "reserve") }

// Runs is where the lease's runs are.
func (d LeaseDir) Runs() string { return filepath.Join(string(d), "runs") }

// Run is the folder of one run.
func (d LeaseDir) Run(id string) (RunDir, error) {
	if _, err := machine.ParseName(id); err != nil {
		return "", fault.New(fault.Protocol, "run: %w", err)
	}
	return RunDir(filepath.Join(d.Runs(), id)), nil
}

// A RunDir is the folder of a run.
type RunDir string

// Lease is the lease that the run is in.
func (d RunDir) Lease() LeaseDir { return LeaseDir(filepath.Dir(filepath.Dir(string(d)))) }

// Log is the folder of the run's output log.
func (d RunDir) Log() string { return filepath.Join(string(d), "output") }

func below(dir, rel string) (string, error) {
	if rel == "" {
		return dir, nil
	}
	if !filepath.IsLocal(filepath.FromSlash(rel)) {
		return "", fault.New(fault.Protocol, "folder %q: leads out of the lease", rel)
	}
	return filepath.Join(dir, filepath.FromSlash(rel)), nil
}

// Kind returns the kind of fault that a failed write is.
func Kind(err error) fault.Kind {
	for _, full := range []error{syscall.ENOSPC, errQuota, errDiskFull} {
		if errors.Is(err, full) {
			return fault.DiskFull
		}
	}
	return fault.RemoteFile
}

// Fault makes a fault of what the file system said of what; nil stays nil, and
// what is a fault already stays what it is.
func Fault(what string, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	return fault.New(Kind(err), "%s: %w", strings.TrimSuffix(what, ":"), err)
}

// IsFull tells whether err says that the disk is full.
func IsFull(err error) bool { return fault.Is(err, fault.DiskFull) }
