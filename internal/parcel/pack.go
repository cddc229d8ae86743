package parcel

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

// Pack writes what is at name as a tar stream, under its own base name. A name
// that ends in "/." means the contents of that folder. A link given as name is
// followed; links below it are carried as links.
func Pack(ctx context.Context, w io.Writer, name string, o Options) (Report, error) {
	p := packer{tw: tar.NewWriter(w), o: o}
	info, err := os.Stat(name)
	if err != nil {
		return p.r, fault.New(o.Side, "copy: %w", err)
	}
	if !info.IsDir() {
		err = p.single(name, info)
	} else {
		err = p.tree(ctx, name)
	}
	if err == nil {
		err = p.tw.Close()
	}
	return p.r, err
}

type packer struct {
	tw *tar.Writer
	r  Report
	o  Options
}

// single carries one file.
func (p *packer) single(name string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fault.New(p.o.Side, "copy: %s: is a %s, want a file or a folder", name, kindOf(info.Mode()))
	}
	f, err := os.Open(name)
	if err != nil {
		return fault.New(p.o.Side, "copy: %w", err)
	}
	defer f.Close()
	return p.file(f, name, filepath.Base(filepath.Clean(name)))
}

// tree carries a folder. It goes through os.Root, so that a link put in the
// way meanwhile leads nowhere else.
func (p *packer) tree(ctx context.Context, name string) error {
	abs, err := filepath.Abs(name)
	if err != nil {
		return fault.New(p.o.Side, "copy: %w", err)
	}
	base := filepath.Base(abs)
	if endsInDot(name) || base == string(filepath.Separator) {
		base = "."
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return fault.New(p.o.Side, "copy: %w", err)
	}
	defer root.Close()
	if err := p.entry(root, ".", base); err != nil {
		return err
	}
	return p.below(ctx, root, ".", base)
}

// below carries what is in a folder, by name. Names are bytes: io/fs, which
// wants UTF-8, is of no use here.
func (p *packer) below(ctx context.Context, root *os.Root, rel, as string) error {
	entries, err := readDir(root, rel)
	if errors.Is(err, fs.ErrNotExist) && rel != "." {
		return nil // went away since the folder was read
	}
	if err != nil {
		return p.readFault(err)
	}
	for _, d := range entries {
		if err := ctx.Err(); err != nil {
			return p.readFault(err)
		}
		name, below := path.Join(rel, d.Name()), path.Join(as, d.Name())
		if err := p.entry(root, name, below); err != nil {
			return err
		}
		if d.IsDir() {
			if err := p.below(ctx, root, name, below); err != nil {
				return err
			}
		}
	}
	return nil
}

func readDir(root *os.Root, rel string) ([]fs.DirEntry, error) {
	f, err := root.Open(filepath.FromSlash(rel))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// endsInDot tells whether only what is in the folder is meant: "dir/.", ".".
func endsInDot(name string) bool {
	s := filepath.ToSlash(name)
	return s == "." || strings.HasSuffix(s, "/.")
}

func (p *packer) entry(root *os.Root, rel, as string) error {
	info, err := root.Lstat(filepath.FromSlash(rel))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // went away since the folder was read
	}
	if err != nil {
		return p.readFault(err)
	}
	switch {
	case info.IsDir():
		p.r.Dirs++
		return p.header(&tar.Header{Typeflag: tar.TypeDir, Name: as + "/", Mode: int64(info.Mode().Perm()), ModTime: stamp(info.ModTime())})
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := root.Readlink(filepath.FromSlash(rel))
		if err != nil {
			return p.readFault(err)
		}
		p.r.Links++
		return p.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: as, Linkname: filepath.ToSlash(target), Mode: 0o777, ModTime: stamp(info.ModTime())})
	case info.Mode().IsRegular():
		f, err := root.Open(filepath.FromSlash(rel))
		if err != nil {
			return p.readFault(err)
		}
		defer f.Close()
		return p.file(f, rel, as)
	}
	p.r.skip(as, "is a "+kindOf(info.Mode()))
	return nil
}

// file carries an open file. Its size stands before its bytes, so one that
// changes meanwhile cannot be carried.
func (p *packer) file(f *os.File, name, as string) error {
	info, err := f.Stat()
	if err != nil {
		return p.readFault(err)
	}
	if !info.Mode().IsRegular() {
		return fault.New(fault.FileChanged, "copy: %s: became a %s while it was read", name, kindOf(info.Mode()))
	}
	err = p.header(&tar.Header{Typeflag: tar.TypeReg, Name: as, Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: stamp(info.ModTime())})
	if err != nil {
		return err
	}
	n, err := io.CopyN(p.tw, metered{source{f}, &p.r, p.o}, info.Size())
	var unreadable *readError
	switch {
	case errors.As(err, &unreadable):
		return p.readFault(unreadable.error)
	case errors.Is(err, io.EOF):
		return fault.New(fault.FileChanged, "copy: %s: has %d bytes now, had %d when it was opened", name, n, info.Size())
	case err != nil:
		return err
	}
	p.r.Files++
	return nil
}

// source marks the errors of reading, to tell them from those of sending.
type source struct{ f *os.File }

type readError struct{ error }

func (s source) Read(b []byte) (int, error) {
	n, err := s.f.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &readError{err}
	}
	return n, err
}

func (p *packer) header(h *tar.Header) error {
	h.Format = tar.FormatPAX // for nanoseconds, long names and large files
	if err := p.tw.WriteHeader(h); err != nil {
		return err
	}
	p.o.tell(p.r)
	return nil
}

func (p *packer) readFault(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.New(p.o.Side, "copy: %w", err)
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// Measure counts what [Pack] would carry, as far as it can be seen now.
func Measure(ctx context.Context, name string) (Report, error) {
	var r Report
	info, err := os.Stat(name)
	if err != nil {
		return r, err
	}
	if !info.IsDir() {
		return Report{Files: 1, Bytes: info.Size()}, nil
	}
	// A walk from a link would look at the link only.
	root, err := filepath.EvalSymlinks(name)
	if err != nil {
		return r, err
	}
	err = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			r.Dirs++
		case d.Type()&fs.ModeSymlink != 0:
			r.Links++
		case d.Type().IsRegular():
			if info, err := d.Info(); err == nil { // else it is gone already
				r.Files++
				r.Bytes += info.Size()
			}
		}
		return ctx.Err()
	})
	return r, err
}
