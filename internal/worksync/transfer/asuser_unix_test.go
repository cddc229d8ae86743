//go:build unix

package transfer_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// nobody is a user that owns nothing: the overflow user of Linux.
const nobody = 65534

// asUser lets root, who may read and write everything, run the calling test as
// somebody who may not, in a process of its own whose TMPDIR root has prepared. It
// reports whether it did.
func asUser(t *testing.T, prepare ...func(tmp string) error) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	// The folders of go test and of t.TempDir are closed to others.
	dir, err := os.MkdirTemp("", "as-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	tmp, program := filepath.Join(dir, "tmp"), filepath.Join(dir, "test")
	for _, step := range []func() error{
		func() error { return os.Chmod(dir, 0o755) },
		func() error { return os.Mkdir(tmp, 0o700) },
		func() error { return os.Chown(tmp, nobody, nobody) },
		func() error { return copyProgram(program) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range prepare {
		if err := p(tmp); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = tmp, append(os.Environ(), "TMPDIR="+tmp, "HOME="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("as an ordinary user: %v\n%s", err, out)
	}
	return true
}

func copyProgram(to string) error {
	from, err := os.Open(os.Args[0])
	if err != nil {
		return err
	}
	defer from.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, from); err != nil {
		w.Close()
		return err
	}
	return w.Close()
}
