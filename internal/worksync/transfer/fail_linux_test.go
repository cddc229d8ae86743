package transfer_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
)

// TestAsUnprivileged runs the tests that are about permissions again as
// somebody who has not all of them.
func TestAsUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("is so already")
	}
	const nobody = 65534
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755))
	}
	work := filepath.Join(dir, "tmp")
	must(t, os.Mkdir(work, 0o700))
	must(t, os.Chown(work, nobody, nobody))
	binary := filepath.Join(dir, "test")
	b, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(binary, b, 0o755))
	cmd := exec.Command(binary, "-test.run", "^(TestReadOnlyFolders|TestUnreadable.*|TestFolderThat.*|TestUpAndBack)$", "-test.v")
	cmd.Dir = work
	cmd.Env = []string{"TMPDIR=" + work, "HOME=" + work, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "--- SKIP") || !strings.Contains(string(out), "--- PASS: TestUnreadableFileHereIsNamed") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestSpecialFilesAreNamedAndLeftAlone(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1", "d/": ""})
	must(t, syscall.Mkfifo(filepath.Join(p.near, "d", "pipe"), 0o644))
	rep := p.mustUp()
	if len(rep.Warnings) != 1 || !strings.Contains(rep.Warnings[0], "d/pipe") {
		t.Errorf("warnings: %q", rep.Warnings)
	}
	if diff := cmp.Diff(map[string]string{"a": "1"}, contents(t, p.far)); diff != "" || exists(filepath.Join(p.far, "d", "pipe")) {
		t.Errorf("far:\n%s", diff)
	}
	// A file that became a pipe on the machine is not deleted here.
	remove(t, p.far, "a")
	must(t, syscall.Mkfifo(filepath.Join(p.far, "a"), 0o644))
	p.mustBack()
	if diff := cmp.Diff(map[string]string{"a": "1"}, contents(t, p.near)); diff != "" {
		t.Errorf("near:\n%s", diff)
	}
	write(t, p.near, map[string]string{"a": "2"})
	if _, err := p.up(); !fault.Is(err, fault.Conflict) {
		t.Errorf("got %v, want a conflict over the pipe", err)
	}
}

// TestDiskFull gives each side in turn a file system of 1 MiB.
func TestDiskFull(t *testing.T) {
	for _, size := range []int{300_000, 5_000_000} { // a file among others, and a large one
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			noGoroutines(t)
			p := newPair(t)
			mount(t, p.far)
			for i := range 6_000_000 / size {
				write(t, p.near, map[string]string{fmt.Sprint("f", i): strings.Repeat("x", size)})
			}
			_, err := p.up()
			if !fault.Is(err, fault.DiskFull) || !strings.Contains(err.Error(), "on the machine") || !strings.Contains(err.Error(), "f") {
				t.Errorf("got %v, want no space on the machine", err)
			}
			noTemp(t, p.far)

			p = newPair(t)
			p.mustUp()
			mount(t, p.near)
			for i := range 6_000_000 / size {
				write(t, p.far, map[string]string{fmt.Sprint("f", i): strings.Repeat("x", size)})
			}
			_, err = p.back()
			if !fault.Is(err, fault.DiskFull) || !strings.Contains(err.Error(), "here") {
				t.Errorf("got %v, want no space here", err)
			}
			noTemp(t, p.near)
		})
	}
}

// mount puts a small file system at dir.
func mount(t *testing.T, dir string) {
	t.Helper()
	err := syscall.Mount("outrigger-test", dir, "tmpfs", 0, "size=1m")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("mount: %v; run the tests as root", err)
	}
	if err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}
