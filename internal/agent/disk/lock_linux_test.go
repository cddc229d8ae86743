package disk

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// openFiles counts the descriptors of this process that lead to name.
func openFiles(t *testing.T, name string) (n int) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && target == name {
			n++
		}
	}
	return n
}

func TestALockThatIsNotGotKeepsNoFileOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := LockFile(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, ok, err := TryLockFile(name); ok || err != nil {
			t.Fatalf("locked twice: %v, %v", ok, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := LockFile(ctx, name); !fault.Is(err, fault.Busy) {
		t.Errorf("locked twice: %v, want Busy", err)
	}
	if n := openFiles(t, name); n != 1 {
		t.Errorf("%d descriptors are open, want that of the holder", n)
	}
	unlock()
	if n := openFiles(t, name); n != 0 {
		t.Errorf("%d descriptors are open after the unlock", n)
	}
}
