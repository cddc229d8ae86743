//go:build unix

package disk

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// shortTmp is where folders for temporary files are made. A socket's path has 104 bytes on macOS and
// 108 on Linux, and programs put up to 60 of their own behind TMPDIR, so it has to be short.
const shortTmp = "/tmp"

// MakeTmp makes the folder that is TMPDIR of a lease's runs, in a place where it is short. It is "" where
// that cannot be had: /tmp is not there, or forbids programs. Then [LeaseDir.Tmp] must do.
func (r Root) MakeTmp() (string, error) {
	base, err := filepath.EvalSymlinks(shortTmp)
	if err != nil || noExec(base) {
		return "", nil //nolint:nilerr // the folder in the lease does
	}
	dir, err := os.MkdirTemp(base, r.tmpPrefix()) // mode 0700
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return "", nil
	}
	return dir, Fault("temporary folder", err)
}

// EnsureTmp sees that a folder that MakeTmp made is there: systems remove what is old in /tmp. One
// that somebody else made in its place is a fault.
func EnsureTmp(dir string) error {
	if err := os.Mkdir(dir, 0o700); err == nil || !errors.Is(err, fs.ErrExist) {
		return Fault("temporary folder", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return Fault("temporary folder", err)
	}
	if !info.IsDir() || !ours(info) {
		return Fault("temporary folder", errors.New(dir+" is not a folder of this user"))
	}
	return nil
}

// IsTmp tells whether dir is what MakeTmp may have made: a record must not lead a removal elsewhere.
func (r Root) IsTmp(dir string) bool {
	base, err := filepath.EvalSymlinks(shortTmp)
	return err == nil && filepath.Dir(dir) == base && strings.HasPrefix(filepath.Base(dir), r.tmpPrefix())
}

// RemoveTmp removes the folders that MakeTmp made for leases below r, but for those that are kept.
func (r Root) RemoveTmp(ctx context.Context, keep func(dir string) bool) error {
	base, err := filepath.EvalSymlinks(shortTmp)
	if err != nil {
		return nil //nolint:nilerr // then nothing was made there
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil //nolint:nilerr // likewise
	}
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		if !strings.HasPrefix(e.Name(), r.tmpPrefix()) || keep(dir) {
			continue
		}
		if info, err := os.Lstat(dir); err == nil && ours(info) {
			errs = append(errs, RemoveAll(ctx, dir))
		}
	}
	return errors.Join(errs...)
}

// tmpPrefix begins the names of the folders of one agent's folder, so that those that no
// lease knows are found again.
func (r Root) tmpPrefix() string {
	sum := sha256.Sum256([]byte(r))
	return "o-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5])) + "-"
}

func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
