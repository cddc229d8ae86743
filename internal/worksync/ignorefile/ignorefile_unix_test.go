//go:build unix

package ignorefile_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/ignore"
)

// What is no file must be refused without being opened: a pipe would wait.
func TestPipesAndSocketsAreRefusedAtOnce(t *testing.T) {
	for name, mk := range map[string]func(string) error{
		"a pipe": func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"a link to a pipe": func(path string) error {
			if err := syscall.Mkfifo(filepath.Join(filepath.Dir(path), "pipe"), 0o644); err != nil {
				return err
			}
			return os.Symlink("pipe", path)
		},
		"a socket": func(path string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, mk(filepath.Join(dir, ignore.FileName)))
			if _, err := read(t, dir); !fault.Is(err, fault.LocalFile) {
				t.Errorf("got %v, want a fault of kind LocalFile", err)
			}
		})
	}
}
