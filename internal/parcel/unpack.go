package parcel

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Unpack writes what [Pack] wrote, as cp -r would: into dst when that is a
// folder, else under the name dst, whose folder must exist. Files are written
// aside and renamed; what is there besides stays.
//
// In a folder the thing gets the name that its sender gives it, so this is for a
// sender who may choose: [Get] is for one who may not.
func Unpack(ctx context.Context, r io.Reader, dst string, o Options) (Report, error) {
	return unpack(ctx, r, dst, o, func(string) bool { return true })
}

// unpack is Unpack for a sender whose name for the thing must be a fit one, where
// it gets that name.
func unpack(ctx context.Context, r io.Reader, dst string, o Options, fit func(base string) bool) (Report, error) {
	return unpackMost(ctx, r, dst, o, fit, maxEntries)
}

// unpackMost is unpack with at most so many entries.
func unpackMost(ctx context.Context, r io.Reader, dst string, o Options, fit func(base string) bool, most int) (Report, error) {
	u := unpacker{tr: tar.NewReader(r), o: o, fit: fit, most: most}
	err := u.run(ctx, dst)
	if u.root != nil {
		err = errors.Join(err, u.root.Close())
	}
	return u.r, err
}

type unpacker struct {
	tr  *tar.Reader
	fit func(base string) bool
	r   Report
	o   Options

	root    *tree.Folder // holds the target, or is it
	base    string       // what the sender calls it
	target  string       // what it is called in root; "" if it is root
	single  bool         // it is a file: nothing comes after it
	entries int
	most    int     // entries
	open    []level // the folders on the way to the last entry, root first
	names   int     // bytes of the names that these hold
}

// What is made here for a stream that compresses well is bounded: on the disk, and of names that are remembered.
const (
	maxEntries = 4 << 20
	maxNames   = 512 << 20
)

func (u *unpacker) run(ctx context.Context, dst string) (err error) {
	defer func() {
		for len(u.open) > 1 {
			err = errors.Join(err, u.leave(err == nil))
		}
	}()
	for ; ; u.entries++ {
		h, err := u.tr.Next()
		switch {
		case errors.Is(err, io.EOF) && u.entries == 0:
			return fault.New(fault.Protocol, "copy: an empty parcel")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return protocol(err)
		case u.single:
			return fault.New(fault.Protocol, "copy: %q comes after %q, which is a file", h.Name, u.base)
		case u.entries == u.most:
			return fault.New(fault.Protocol, "copy: more than %d entries", u.most).WithRemedy("Copy it in several parts.")
		}
		if u.entries == 0 {
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
	isDir := h.Typeflag == tar.TypeDir
	if err := u.begin(h.Name, isDir); err != nil {
		return err
	}
	info, err := os.Stat(dst)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(u.o.Side, "copy: %w", err)
	}
	parent := dst
	switch {
	case err == nil && info.IsDir():
		if !u.fit(u.base) {
			return fault.New(fault.Protocol, "copy: what came is called %q, which is not what was asked for", u.base).
				WithRemedy("To give it a name of its own, name a target that does not exist yet.")
		}
		if u.base != "." {
			u.target = u.base
		}
	case strings.HasSuffix(filepath.ToSlash(dst), "/") && !isDir:
		return fault.New(u.o.Side, "copy: %s: no such folder", dst)
	case err == nil && isDir:
		return fault.New(u.o.Side, "copy: %s: is a file, and what is copied is a folder", dst)
	default:
		parent, u.target = filepath.Dir(filepath.Clean(dst)), filepath.Base(filepath.Clean(dst))
	}
	if u.root, err = tree.OpenRoot(parent); err != nil {
		return fault.New(u.o.Side, "copy: %w", err)
	}
	u.open = []level{{dir: u.root, folded: map[string]string{}}}
	return nil
}

// entry writes one thing.
func (u *unpacker) entry(ctx context.Context, h *tar.Header) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if sparse(h) {
		return fault.New(fault.Protocol, "copy: %q is a sparse file, whose length is not that of what came", h.Name)
	}
	way, err := u.way(h)
	if err != nil {
		return err
	}
	if len(way) == 0 { // root itself, which was there before us
		u.r.Dirs++
		return nil
	}
	name := way[len(way)-1]
	at, err := u.goTo(way[:len(way)-1], h.Name)
	if err == nil {
		err = u.remember(at, name)
	}
	if err != nil {
		return u.writeFault(err)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = u.dir(at.dir, name, h)
	case tar.TypeReg:
		err = u.file(at.dir, name, h)
	case tar.TypeSymlink:
		err = u.link(at.dir, name, h)
	default:
		err = fault.New(fault.Protocol, "copy: %q is of type %q", h.Name, h.Typeflag)
	}
	return u.writeFault(err)
}

// dir makes or takes a folder, and goes into it.
func (u *unpacker) dir(in *tree.Folder, name string, h *tar.Header) error {
	if err := in.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return in.At("mkdir", name, err)
	}
	sub, err := in.Sub(name) // never through a link
	if err != nil {
		return err
	}
	u.open = append(u.open, level{dir: sub, name: name, header: h, folded: map[string]string{}})
	u.r.Dirs++
	return nil
}

func (u *unpacker) file(in *tree.Folder, name string, h *tar.Header) (err error) {
	if err := free(in, name); err != nil {
		return err
	}
	temp := ".outrigger-" + rand.Text()[:12]
	f, err := in.Root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return in.At("create", name, err)
	}
	defer func() {
		if err != nil {
			_ = in.Remove(temp) // the error that led here is the one to tell
		}
	}()
	_, err = io.Copy(f, metered{u.tr, &u.r, u.o})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = settle(in, temp, h)
	}
	if err != nil {
		return err
	}
	u.r.Files++
	return in.At("rename", name, in.Rename(temp, name))
}

func (u *unpacker) link(in *tree.Folder, name string, h *tar.Header) error {
	if err := checkTarget(h); err != nil {
		return err
	}
	if err := free(in, name); err != nil {
		return err
	}
	if err := in.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return in.At("remove", name, err)
	}
	u.r.Links++
	return in.At("link", name, in.Symlink(filepath.FromSlash(h.Linkname), name))
}

// free tells that a file or link may be put at name.
func free(in *tree.Folder, name string) error {
	if info, err := in.Lstat(name); err == nil && info.IsDir() {
		return in.At("write", name, errors.New("a folder is there"))
	}
	return nil
}

// settle gives what was just made here its time and its mode, of which the bits
// that lend somebody's rights (setuid, setgid) are not taken over.
func settle(in *tree.Folder, name string, h *tar.Header) error {
	// Times first: Windows lets nobody change those of a file that may not be written.
	if err := in.Chtimes(name, time.Now(), h.ModTime); err != nil {
		return in.At("set time of", name, err)
	}
	return in.At("set mode of", name, in.Chmod(name, fs.FileMode(h.Mode).Perm()))
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
