//go:build linux

package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A session that is still open when its lease is released must not make the lease's folder again.
func TestASyncEndsWithItsLease(t *testing.T) {
	for _, tt := range []struct {
		name   string
		synced int // operations before the release
	}{{"before its first operation", 0}, {"between two operations", 1}} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			l := h.lease("a")
			conn, err := h.open(t.Context(), "serve")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.Call(wire.MethodSync, wire.SyncRequest{Lease: "a", Folder: "main/data"}, nil); err != nil {
				t.Fatal(err)
			}
			here := t.TempDir()
			if err := os.WriteFile(filepath.Join(here, "x"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := transfer.Open(t.Context(), conn, transfer.ClientConfig{Root: here, StateDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for range tt.synced {
				if _, err := s.Up(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			h.release("a")
			if _, err := s.Up(t.Context()); !fault.Is(err, fault.RunLost) {
				t.Errorf("sync after the release: %v, want RunLost", err)
			}
			if _, err := s.Back(t.Context()); !fault.Is(err, fault.RunLost) {
				t.Errorf("sync back after the release: %v, want RunLost", err)
			}
			if err := h.call(wire.MethodSync, wire.SyncRequest{Lease: "a", Folder: "main/data"}, nil); !fault.Is(err, fault.RunLost) {
				t.Errorf("a new session after the release: %v, want RunLost", err)
			}
			if _, err := os.Lstat(l.Dir); !os.IsNotExist(err) {
				t.Errorf("folder of the released lease: %v, want it gone", err)
			}
		})
	}
}
