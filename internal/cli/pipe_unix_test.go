//go:build unix

package cli_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
)

// A reader that went away, as head does, is no mistake: nothing is said, and
// the exit code is the one that a shell gives to SIGPIPE.
func TestAClosedPipeEndsQuietly(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	var stderr bytes.Buffer
	cmd := outrigger(t, t.TempDir(), "", "version")
	cmd.Stdout, cmd.Stderr = w, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != fault.ExitSignal+int(syscall.SIGPIPE) {
		t.Errorf("ended with %v, want exit code 141", err)
	}
	if stderr.Len() > 0 {
		t.Errorf("said %q", stderr.String())
	}
}
