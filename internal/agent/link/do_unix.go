//go:build unix

package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"outrigger.dev/outrigger/internal/agent/disk"
)

func isRoot() bool { return os.Geteuid() == 0 }

func native(p string) string { return p }

func writable(p string) bool { return unix.Access(p, unix.W_OK) == nil }

func isLink(info fs.FileInfo) bool { return info.Mode()&fs.ModeSymlink != 0 }

func sameTarget(a, b string) bool { return a == b }

// sudoLimit bounds a sudo that asks some directory service far away.
const sudoLimit = 10 * time.Second

// MaySudo tells whether the login becomes root without being asked for anything.
func MaySudo(ctx context.Context) bool { return sudo(ctx, "true") == nil }

func sudo(ctx context.Context, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, sudoLimit)
	defer cancel()
	var words bytes.Buffer
	cmd := disk.Sudo(ctx, argv...)
	cmd.Stderr = &words
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("sudo %s: %w: %s", argv[0], err, bytes.TrimSpace(words.Bytes()))
	}
	return nil
}

func do(ctx context.Context, s Step, power Power) error {
	asRoot := s.Root && power == AsSudo
	switch s.Op {
	case Mkdir:
		if asRoot {
			return sudo(ctx, "mkdir", "-m", "755", s.Path)
		}
		return mkdir(s.Path)
	case Symlink:
		if !asRoot {
			return os.Symlink(s.Target, s.Path)
		}
		// Given a folder, ln would make the link inside it.
		if _, err := os.Lstat(s.Path); err == nil {
			return fs.ErrExist
		}
		return sudo(ctx, "ln", "-s", s.Target, s.Path)
	case Synthetic:
		return addSynthetic(ctx, s.Path, s.Target, asRoot)
	}
	return unknown(s)
}

// remove removes a link or an empty folder, as root if it must.
func remove(ctx context.Context, path string) error {
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !errors.Is(err, fs.ErrPermission) || isRoot() {
		return err
	}
	if writable(filepath.Dir(path)) {
		return err
	}
	info, serr := os.Lstat(path)
	if serr != nil {
		return errors.Join(err, serr)
	}
	if info.IsDir() {
		return sudo(ctx, "rmdir", path)
	}
	return sudo(ctx, "rm", path)
}

// removeAll removes what is at path with everything in it, as root if it must.
func removeAll(ctx context.Context, path string) error {
	err := disk.RemoveAll(ctx, path)
	if err == nil || isRoot() || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if serr := sudo(ctx, "rm", "-rf", path); serr != nil {
		return errors.Join(err, serr)
	}
	return nil
}
