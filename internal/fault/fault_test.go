package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
)

func TestOfFindsTheOutermostFault(t *testing.T) {
	inner := fault.New(fault.DiskFull, "no space: %w", io.ErrShortWrite)
	outer := fault.New(fault.RemoteFile, "mac-1: %w", inner)
	err := fmt.Errorf("sync: %w", outer)
	if got := fault.Of(err); got != fault.RemoteFile {
		t.Errorf("Of = %s, want RemoteFile", got)
	}
	if !errors.Is(err, io.ErrShortWrite) {
		t.Error("the cause is lost")
	}
	if got := fault.Of(io.EOF); got != fault.Internal {
		t.Errorf("Of(plain error) = %s, want Internal", got)
	}
	if fault.Of(nil) != "" || fault.ExitCode(nil) != 0 {
		t.Error("nil is not a fault")
	}
}

func TestEveryKindHasOneRow(t *testing.T) {
	seen := map[fault.Kind]bool{}
	for _, i := range fault.Kinds {
		if seen[i.Kind] {
			t.Errorf("%s: two rows", i.Kind)
		}
		seen[i.Kind] = true
		if i.Exit < 1 || i.Exit > 255 {
			t.Errorf("%s: exit code %d", i.Kind, i.Exit)
		}
		if i.Remedy == "" && i.Kind != fault.Interrupted {
			t.Errorf("%s: no remedy", i.Kind)
		}
	}
}
