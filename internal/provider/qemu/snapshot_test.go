package qemu

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// Whoever finds a guest that is saved already waits for nobody, while another size is booted and saved for minutes;
// who wants that size waits, and no longer than its caller.
func TestSavedGuestIsNotWaitedFor(t *testing.T) {
	p, err := New("vm", Config{}, t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	saved := snapshot{Hardware: hardware{CPUs: 1}, Boot: "b", Disk: 1, Emulator: "e"}
	broken, making := saved, saved
	broken.Hardware.CPUs, making.Hardware.CPUs = 2, 4
	for file, s := range map[string]snapshot{snapshotFile: saved, brokenFile: broken} {
		dir := p.path(snapshotsDir, s.key())
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	maker, err := acquire(t.Context(), p.path(snapshotsDir, making.key()+lockSuffix))
	if err != nil {
		t.Fatal(err)
	}
	defer maker.release()
	limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := p.snapshot(limit, "qemu", t.TempDir(), saved); err != nil {
		t.Errorf("a guest that is saved: %v", err)
	}
	if _, err := p.snapshot(limit, "qemu", t.TempDir(), broken); !errors.Is(err, errBroken) {
		t.Errorf("one that did not resume: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.snapshot(short, "qemu", t.TempDir(), making); !fault.Is(err, fault.Busy) {
		t.Errorf("the size that is being made: %v; want that it waits for that", err)
	}
}
