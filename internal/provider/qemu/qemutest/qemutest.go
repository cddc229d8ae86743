// Package qemutest gives tests real virtual machines. The image is built once
// for all tests of a user and kept outside the checkout.
package qemutest

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/qemu"
)

// State returns a state folder with the image "debian" and without machines,
// for [qemu.New]. The test that gets it is skipped where QEMU or what builds the
// image is not installed, and fails there if CI says that nothing may be
// skipped. When the test is over, the machines in the folder are ended.
func State(t testing.TB) string {
	t.Helper()
	cache := cacheDir(t)
	if err := debian.ready(t, cache); fault.Is(err, fault.ProviderRefused) && os.Getenv("CI") == "" {
		t.Skipf("%v. %s", err, fault.Remedy(err))
	} else if err != nil {
		t.Fatal(err)
	}
	// On the same file system, so that the image is linked and not copied.
	dir, err := os.MkdirTemp(cache, "test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		EndAll(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for _, part := range []string{"images", "snapshots"} {
		if err := linkTree(filepath.Join(cache, "qemu", part), filepath.Join(dir, "qemu", part)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Open returns a provider called "qemu" on a state folder, with machines of
// 512 MiB unless cfg says otherwise. It never tries KVM, which works on few of
// the computers that run tests.
func Open(t testing.TB, state string, cfg qemu.Config) *qemu.Provider {
	t.Helper()
	if cfg.Accel == "" {
		cfg.Accel = qemu.AccelTCG
	}
	if cfg.MemoryMiB == 0 {
		cfg.MemoryMiB = 512
	}
	if cfg.BootTimeout == 0 {
		cfg.BootTimeout = 2 * time.Minute // a computer that runs many tests is slow
	}
	p, err := qemu.New("qemu", cfg, state, slog.New(slog.NewTextHandler(testLog{t}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type testLog struct{ t testing.TB }

// Write implements [io.Writer].
func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// EndAll deletes every machine in a state folder.
func EndAll(t testing.TB, state string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's own is over
	defer cancel()
	p := Open(t, state, qemu.Config{})
	all, err := p.List(ctx, "")
	if err != nil {
		t.Error(err)
	}
	for _, m := range all {
		if err := p.Delete(ctx, m.Name); err != nil {
			t.Error(err)
		}
	}
}

// debian is the image that all tests of a process share.
var debian shared

// A shared image is looked at once by each process: asking apt whether its
// inputs changed takes a second.
type shared struct {
	once sync.Once
	err  error
}

// ready builds the image and, with one machine, the saved guest that the tests'
// machines resume from.
func (s *shared) ready(t testing.TB, cache string) error {
	t.Helper()
	s.once.Do(func() { s.err = warm(t, Open(t, cache, qemu.Config{}), cache) })
	return s.err
}

func warm(t testing.TB, p *qemu.Provider, cache string) error {
	t.Helper()
	_, err := p.BuildImage(t.Context(), provider.BuildSpec{Progress: func(stage string, elapsed time.Duration) {
		t.Logf("image: %5.1f s: %s", elapsed.Seconds(), stage)
	}})
	if err != nil {
		return err
	}
	saved, err := filepath.Glob(filepath.Join(cache, "qemu", "snapshots", "*", "snapshot.json"))
	if err != nil || len(saved) > 0 {
		return err
	}
	name := machine.NewName("warm")
	_, err = p.Create(t.Context(), machine.Spec{Name: name, Owner: "qemutest"})
	return errors.Join(err, p.Delete(context.WithoutCancel(t.Context()), name))
}

func cacheDir(t testing.TB) string {
	t.Helper()
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(user, "outrigger-dev")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// linkTree makes to a tree of the same files as from.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, inside), 0o700)
		case e.Name() == "lock" || strings.HasPrefix(e.Name(), "."):
			return nil
		}
		return os.Link(path, filepath.Join(to, inside))
	})
}
