package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"outrigger.dev/outrigger/internal/provider/qemu/guest"
	"outrigger.dev/outrigger/internal/provider/qemu/qmp"
)

// A snapshot is a guest saved while it waits for its personality. Its memory is
// a file that every resumed machine maps and changes for itself only, so
// nothing is read that the machine does not use, and machines share the rest.
// Nothing in it depends on a disk: see package guest.
type snapshot struct {
	Hardware hardware `json:"hardware"`
	Boot     string   `json:"boot"` // what it booted: image.Boot
	Disk     int64    `json:"disk"`
	Emulator string   `json:"emulator"`

	dir string
}

const (
	snapshotFile = "snapshot.json"
	memoryFile   = "memory"
	stateFile    = "state" // of processors and devices
	brokenFile   = "broken"
	lockSuffix   = ".lock" // of the file beside a snapshot that is held by who makes it
)

// ignoreShared leaves memory that is a shared file out of a saved state.
var ignoreShared = map[string]any{"capabilities": []any{map[string]any{"capability": "x-ignore-shared", "state": true}}}

func (s snapshot) key() string {
	h := sha256.New()
	fmt.Fprintf(h, "%+v %s %d %s %s", s.Hardware, s.Boot, s.Disk, s.Emulator, guest.CommandLine)
	return hex.EncodeToString(h.Sum(nil))[:24]
}

// errBroken says that QEMU refused to resume this snapshot before.
var errBroken = errors.New("it did not resume before")

// snapshot returns the saved guest for want, which it makes if there is none.
// boot is a folder that holds the kernel and the initial RAM disk.
func (p *Provider) snapshot(ctx context.Context, binary, boot string, want snapshot) (snapshot, error) {
	want.dir = p.path(snapshotsDir, want.key())
	// It is published whole, so who finds it needs no lock; who makes one holds up those who want the same.
	if there, err := want.look(); there || err != nil {
		return want, err
	}
	l, err := acquire(ctx, want.dir+lockSuffix)
	if err != nil {
		return want, err
	}
	defer l.release()
	if there, err := want.look(); there || err != nil {
		return want, err // another client has made it meanwhile
	}
	started := time.Now()
	if err := p.makeSnapshot(ctx, binary, boot, want); err != nil {
		return want, err
	}
	p.log.Info("guest saved for later machines", "cpus", want.Hardware.CPUs, "memoryMiB", want.Hardware.MemoryMiB, "took", time.Since(started))
	return want, nil
}

// look tells whether the guest was saved, and whether it can be used.
func (s snapshot) look() (there bool, err error) {
	if _, err := os.Stat(filepath.Join(s.dir, brokenFile)); err == nil {
		return true, errBroken
	}
	_, err = os.Stat(filepath.Join(s.dir, snapshotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, localFile(err)
}

func (p *Provider) makeSnapshot(ctx context.Context, binary, boot string, want snapshot) (err error) {
	d, err := p.draft(ctx)
	if err != nil {
		return err
	}
	v := vm{d.dir, p.log}
	defer func() { err = errors.Join(err, p.endDraft(ctx, d)) }()
	s := start{
		hardware: want.Hardware,
		memory:   memory{file: v.path(memoryFile)},
		kernel:   filepath.Join(boot, kernelFile), initrd: filepath.Join(boot, initrdFile),
		diskBytes: want.Disk, isolated: true,
	}
	if err := p.bootOnce(ctx, v, binary, s, p.cfg.BootTimeout); err != nil {
		return err
	}
	if err := v.save(ctx); err != nil {
		return fmt.Errorf("save the guest: %w", err)
	}
	if err := v.stop(ctx); err != nil {
		return err
	}
	for _, name := range []string{aliveFile, monitorFile, consoleFile} {
		if err := os.Remove(v.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return localFile(err)
		}
	}
	for _, name := range []string{memoryFile, stateFile} {
		if err := syncFile(v.path(name)); err != nil {
			return err
		}
	}
	if err := writeJSON(v.path(snapshotFile), want); err != nil {
		return err
	}
	l, err := p.hold(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	return d.publish(want.dir)
}

// endDraft removes what was not published, also after ctx ended.
func (p *Provider) endDraft(ctx context.Context, d draft) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitGrace+termGrace+killGrace)
	defer cancel()
	err := vm{d.dir, p.log}.stopIfThere(ctx)
	return errors.Join(err, d.discard())
}

// stopIfThere is stop for a folder that may be gone.
func (v vm) stopIfThere(ctx context.Context) error {
	if _, err := os.Stat(v.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return v.stop(ctx)
}

// bootOnce starts a guest without a personality until it waits for one.
func (p *Provider) bootOnce(ctx context.Context, v vm, binary string, s start, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, tooLate(limit))
	defer cancel()
	if err := v.start(ctx, binary, s.args()); err != nil {
		return err
	}
	m, err := v.monitor(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	return v.awaitLine(ctx, m, guest.Waiting)
}

// save writes the state of processors and devices. The guest stands still afterwards.
func (v vm) save(ctx context.Context) error {
	state, err := os.OpenFile(v.path(stateFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return localFile(err)
	}
	defer state.Close()
	m, err := v.monitor(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Do(ctx, "migrate-set-capabilities", ignoreShared, nil); err != nil {
		return err
	}
	if err := m.Lend(ctx, "state", state); err != nil {
		return err
	}
	if err := m.Do(ctx, "migrate", map[string]any{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return awaitMigration(ctx, m)
}

// awaitMigration waits until a state is saved or loaded.
func awaitMigration(ctx context.Context, m *qmp.Conn) error {
	for {
		var now struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := m.Do(ctx, "query-migrate", nil, &now); err != nil {
			return err
		}
		switch now.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("the state was not moved: %s: %s", now.Status, now.Error)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// load lets a QEMU that was started for it continue from the saved state.
func (s snapshot) load(ctx context.Context, m *qmp.Conn) error {
	state, err := os.Open(filepath.Join(s.dir, stateFile))
	if err != nil {
		return localFile(err)
	}
	defer state.Close()
	if err := m.Do(ctx, "migrate-set-capabilities", ignoreShared, nil); err != nil {
		return err
	}
	if err := m.Lend(ctx, "state", state); err != nil {
		return err
	}
	if err := m.Do(ctx, "migrate-incoming", map[string]any{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return awaitMigration(ctx, m)
}

// markBroken keeps later machines from trying what QEMU refuses.
func (s snapshot) markBroken() error {
	return localFile(os.WriteFile(filepath.Join(s.dir, brokenFile), nil, 0o600))
}
