// Package wine runs Windows programs of ours under Wine, as far as Wine is
// Windows: processes, pipes, files, sockets and jobs behave; permissions,
// sharing violations and consoles are not to be trusted.
//
// Wine 8 lacks bcryptprimitives.dll, without which no program made by Go 1.22 or
// later starts; the folder shim holds the one function that is asked of it.
package wine

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

//go:embed shim
var shim embed.FS

// programs are where Debian puts Wine.
var programs = []string{"/usr/lib/wine/wine64", "/usr/bin/wine64", "/usr/bin/wine"}

// setUp is how long the first use may take; 4 s were measured, then none.
const setUp = 2 * time.Minute

// A Wine runs programs in one prefix.
type Wine struct {
	program string
	prefix  string
}

// ErrAbsent says that this computer has no Wine, or not what the shim needs.
var ErrAbsent = errors.New("wine64 and binutils-mingw-w64-x86-64 are not installed")

// Open returns a Wine with a prefix in the user's cache folder, which is made at
// first use.
func Open(ctx context.Context) (*Wine, error) {
	w := &Wine{}
	for _, p := range programs {
		if _, err := os.Stat(p); err == nil {
			w.program = p
			break
		}
	}
	if _, err := exec.LookPath("x86_64-w64-mingw32-ld"); err != nil || w.program == "" {
		return nil, ErrAbsent
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	w.prefix = filepath.Join(cache, "outrigger-dev", "wine")
	if err := os.MkdirAll(w.prefix, 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(w.prefix + ".lock")
	ctx, cancel := context.WithTimeout(ctx, setUp)
	defer cancel()
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	defer lock.Unlock()
	return w, w.prepare(ctx)
}

// prepare makes what is missing in the prefix.
func (w *Wine) prepare(ctx context.Context) error {
	dll := filepath.Join(w.prefix, "drive_c", "windows", "system32", "bcryptprimitives.dll")
	if _, err := os.Stat(dll); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if out, err := w.Command(ctx, "wineboot.exe", "--init").CombinedOutput(); err != nil {
		return fmt.Errorf("make wine prefix: %w: %s", err, out)
	}
	dir, err := os.MkdirTemp("", "wine-shim-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, shim); err != nil {
		return err
	}
	for _, line := range []string{
		"dlltool -m i386:x86-64 -d shim/advapi32.def -l libadvapi32.a",
		"as shim/bcryptprimitives.s -o shim.o",
		"ld -shared -e DllMain -o bcryptprimitives.dll shim.o shim/bcryptprimitives.def libadvapi32.a",
	} {
		words := strings.Fields(line)
		cmd := exec.CommandContext(ctx, "x86_64-w64-mingw32-"+words[0], words[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("make shim: %s: %w: %s", words[0], err, out)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "bcryptprimitives.dll"))
	if err != nil {
		return err
	}
	return os.WriteFile(dll, b, 0o600)
}

// Command returns a command that runs a Windows program.
func (w *Wine) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.program, append([]string{program}, args...)...)
	cmd.Env = append(os.Environ(), "WINEPREFIX="+w.prefix, "WINEDEBUG=-all", "DISPLAY=", "WINEDLLOVERRIDES=mscoree,mshtml=")
	return cmd
}

// Drive returns the folder that Windows programs see as C:\.
func (w *Wine) Drive() string { return filepath.Join(w.prefix, "drive_c") }
