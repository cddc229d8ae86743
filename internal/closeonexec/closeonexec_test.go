//go:build unix

package closeonexec_test

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"outrigger.dev/outrigger/internal/closeonexec"
)

// A child has what it is handed and nothing that its maker was started with.
func TestInherited(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, fd := range []int{109, 200} { // as a shell's `exec 9>lock`
		if err := unix.Dup2(int(w.Fd()), fd); err != nil {
			t.Fatal(err)
		}
	}
	if err := closeonexec.Inherited(); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "sh", "-c", `for i in 109 200; do [ -e /dev/fd/$i ] && echo inherited $i; done; echo handed >&3`)
	c.ExtraFiles = []*os.File{w}
	out, err := c.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("the child: %v: %s", err, out)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{109, 200} {
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
	said := make([]byte, 100)
	if n, err := r.Read(said); string(said[:n]) != "handed\n" {
		t.Errorf("read %q, %v, want what was handed over", said[:n], err)
	}
}
