package parcel

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/text/unicode/norm"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/names"
)

// Unpack writes what [Pack] wrote, as cp -r would: into dst when that is a
// folder, else under the name dst, whose folder must exist. Files are written
// aside and renamed; what is there besides stays.
func Unpack(ctx context.Context, r io.Reader, dst string, o Options) (Report, error) {
	u := unpacker{tr: tar.NewReader(r), o: o, folded: map[string]string{}}
	err := u.run(ctx, dst)
	if u.root != nil {
		err = errors.Join(err, u.root.Close())
	}
	return u.r, err
}

type unpacker struct {
	tr     *tar.Reader
	root   *os.Root
	base   string // what the sender calls it
	target string // what it is called below root
	r      Report
	o      Options

	folded map[string]string // names by what like ones have in common, to find two that are one here
	dirs   []*tar.Header     // whose modes and times are set last
}

func (u *unpacker) run(ctx context.Context, dst string) error {
	for first := true; ; first = false {
		h, err := u.tr.Next()
		if errors.Is(err, io.EOF) {
			if first {
				return fault.New(fault.Protocol, "copy: an empty parcel")
			}
			return u.finish()
		}
		if err != nil {
			return protocol(err)
		}
		if first {
			if err := u.place(dst, h); err != nil {
				return err
			}
		}
		if err := u.entry(ctx, h); err != nil {
			return err
		}
		u.o.tell(u.r)
	}
}

// place decides where the first entry, and everything below it, goes.
func (u *unpacker) place(dst string, h *tar.Header) error {
	u.base = strings.TrimSuffix(h.Name, "/")
	if u.base == "" || u.base == ".." || strings.ContainsAny(u.base, "/\x00") {
		return fault.New(fault.Protocol, "copy: a parcel that begins with %q", h.Name)
	}
	info, err := os.Stat(dst)
	into := err == nil && info.IsDir()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(u.o.Side, "copy: %w", err)
	}
	parent := dst
	switch {
	case into:
		u.target = u.base
	case strings.HasSuffix(filepath.ToSlash(dst), "/") && h.Typeflag != tar.TypeDir:
		return fault.New(u.o.Side, "copy: %s: no such folder", dst)
	case err == nil && h.Typeflag == tar.TypeDir:
		return fault.New(u.o.Side, "copy: %s: is a file, and what is copied is a folder", dst)
	default:
		parent, u.target = filepath.Dir(filepath.Clean(dst)), filepath.Base(filepath.Clean(dst))
	}
	if u.root, err = os.OpenRoot(parent); err != nil {
		return fault.New(u.o.Side, "copy: %w", err)
	}
	return nil
}

// entry writes one thing.
func (u *unpacker) entry(ctx context.Context, h *tar.Header) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name, err := u.name(h.Name)
	if err != nil {
		return err
	}
	if err := u.distinct(name); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = u.dir(name, h)
	case tar.TypeReg:
		err = u.file(name, h)
	case tar.TypeSymlink:
		err = u.link(name, h)
	default:
		return fault.New(fault.Protocol, "copy: %q is of type %q", h.Name, h.Typeflag)
	}
	return u.writeFault(err)
}

// name is where an entry goes. os.Root would refuse what leads outside; what
// leads elsewhere inside is refused here.
func (u *unpacker) name(sent string) (string, error) {
	rel, ok := strings.CutPrefix(path.Clean(sent), u.base)
	if u.base == "." {
		rel, ok = path.Clean(sent), !strings.HasPrefix(sent, "/")
	} else if rel != "" && rel[0] != '/' {
		ok = false
	}
	name := path.Join(u.target, rel)
	if !ok || name == ".." || strings.HasPrefix(name, "../") {
		return "", fault.New(fault.Protocol, "copy: a name that leads elsewhere: %q", sent)
	}
	for _, p := range names.Check([]string{name}, ways) {
		return "", fault.New(fault.BadName, "copy: %s", p)
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", fault.New(fault.Protocol, "copy: a name that leads elsewhere: %q", sent)
	}
	return filepath.FromSlash(name), nil
}

// ways is what this system cannot hold. Each folder on the way to a name came
// as an entry of its own and was looked at then.
var ways = names.Ways{DOS: runtime.GOOS == "windows", UTF8Only: runtime.GOOS == "windows"}

// distinct refuses a name that is another one's on this file system: where
// letters' case or the way to write accents does not count, the second file would
// silently replace the first.
func (u *unpacker) distinct(name string) error {
	key := norm.NFD.String(strings.ToLower(strings.ToUpper(norm.NFD.String(name))))
	before, seen := u.folded[key]
	if !seen {
		u.folded[key] = name
		return nil
	}
	if before == name {
		return fault.New(fault.Protocol, "copy: %q came twice", name)
	}
	one, err := u.root.Lstat(before)
	if err != nil {
		return u.writeFault(err)
	}
	if two, err := u.root.Lstat(name); err == nil && os.SameFile(one, two) {
		return fault.New(fault.BadName, "copy: %q and %q are one name on this file system", before, name)
	}
	return nil
}

func (u *unpacker) dir(name string, h *tar.Header) error {
	err := u.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, serr := u.root.Stat(name)
		if serr != nil {
			return serr
		}
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: name, Err: errors.New("a file is there")}
		}
		err = nil
	}
	if err != nil {
		return err
	}
	h.Name = name
	u.dirs = append(u.dirs, h)
	u.r.Dirs++
	return nil
}

func (u *unpacker) file(name string, h *tar.Header) (err error) {
	if err := u.free(name); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(name), ".outrigger-"+rand.Text()[:12])
	f, err := u.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = u.root.Remove(temp) // the error that led here is the one to tell
		}
	}()
	_, err = io.Copy(f, metered{u.tr, &u.r, u.o})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := u.stamp(temp, h); err != nil {
		return err
	}
	u.r.Files++
	return u.root.Rename(temp, name)
}

func (u *unpacker) link(name string, h *tar.Header) error {
	if err := u.free(name); err != nil {
		return err
	}
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	u.r.Links++
	return u.root.Symlink(filepath.FromSlash(h.Linkname), name)
}

// free tells that a file or link may be put at name.
func (u *unpacker) free(name string) error {
	if info, err := u.root.Lstat(name); err == nil && info.IsDir() {
		return &fs.PathError{Op: "write", Path: name, Err: errors.New("a folder is there")}
	}
	return nil
}

func (u *unpacker) stamp(name string, h *tar.Header) error {
	// Times first: Windows lets nobody change those of a file that may not be written.
	if err := u.root.Chtimes(name, time.Now(), h.ModTime); err != nil {
		return err
	}
	return u.root.Chmod(name, fs.FileMode(h.Mode).Perm())
}

// finish sets what writing into folders would have changed, or forbidden.
func (u *unpacker) finish() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		if u.dirs[i].Name == "." {
			continue // the folder was there before us
		}
		if err := u.stamp(u.dirs[i].Name, u.dirs[i]); err != nil {
			return u.writeFault(err)
		}
	}
	return nil
}

// writeFault sorts what can happen while an entry is written: this side's file
// system, or the stream.
func (u *unpacker) writeFault(err error) error {
	var mine *fs.PathError
	var link *os.LinkError
	switch {
	case err == nil, fault.Of(err) != fault.Internal, errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return fault.New(fault.DiskFull, "copy: %w", err)
	case errors.As(err, &mine), errors.As(err, &link):
		return fault.New(u.o.Side, "copy: %w", err)
	}
	return protocol(err)
}

// protocol says that the stream is not what Pack writes, unless it broke for a
// reason that has a name.
func protocol(err error) error {
	if fault.Of(err) != fault.Internal || errors.Is(err, context.Canceled) {
		return err
	}
	return fault.New(fault.Protocol, "copy: %w", err)
}
