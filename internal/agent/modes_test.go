//go:build linux

package agent_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// A command that takes the modes from its lease's own folders keeps its run, and the lease can be used and released.
func TestACommandThatShutsItsLease(t *testing.T) {
	for _, dir := range []string{".", "runs", "work", "sync", "tmp", "runs/*", "lease.json"} {
		t.Run(dir, func(t *testing.T) {
			h := newNobody(t)
			l := h.lease("a")
			got := h.run(sh("echo began; chmod 0 "+l.Dir+"/"+dir+"; exit 3"), runclient.Streams{}, runclient.Options{})
			if got.err != nil || got.exit.Code != 3 || got.out != "began\n" {
				t.Errorf("the run: %s, %q, %v; want its own exit, 3", got.outcome(), got.out, got.err)
			}
			if got := h.run(sh("echo again"), runclient.Streams{}, runclient.Options{}); got.err != nil || got.out != "again\n" {
				t.Errorf("the next run: %s, %q, %v", got.outcome(), got.out, got.err)
			}
			if err := h.call(wire.MethodSync, wire.SyncRequest{Lease: "a"}, nil); err != nil {
				t.Errorf("sync: %v", err)
			}
			h.release("a")
			if _, err := os.Lstat(l.Dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("folder of the released lease: %v, want it gone", err)
			}
		})
	}
}
