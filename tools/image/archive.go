package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An entry is one file, folder or symbolic link of a layer.
type entry struct {
	name    string
	mode    fs.FileMode
	content []byte
	link    string // target; the name is a symbolic link then
}

// epoch is when everything was made.
var epoch = time.Unix(0, 0)

// layer packs entries, which belong to root, as they are ordered.
func layer(entries []entry) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: int64(e.mode.Perm()), Size: int64(len(e.content)), ModTime: epoch, Format: tar.FormatPAX}
		switch {
		case e.link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
		case e.mode.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
		default:
			h.Typeflag = tar.TypeReg
		}
		if e.mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	data := b.Bytes()
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching, tarball.WithCompressionLevel(9))
}

// Annotations by which an archive says what its image is called: containerd's,
// and the general one, which is the tag alone.
const (
	nameAnnotation = "io.containerd.image.name"
	tagAnnotation  = "org.opencontainers.image.ref.name"
)

// writeArchive writes index as a tar of an OCI image layout, which
// "ctr images import", skopeo, podman and crane read.
func writeArchive(file, name string, index v1.ImageIndex) (err error) {
	dir, err := os.MkdirTemp("", "outrigger-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	outer, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := outer.AppendIndex(index, layout.WithAnnotations(map[string]string{nameAnnotation: name, tagAnnotation: name})); err != nil {
		return err
	}
	return pack(file, os.DirFS(dir))
}

// pack writes the tree into a tar, with a temporary name until it is whole.
func pack(file string, tree fs.FS) (err error) {
	f, err := os.Create(file + ".new")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(f.Name()) // it is the first error that counts
			return
		}
		err = os.Rename(f.Name(), file)
	}()
	w := tar.NewWriter(f)
	err = fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(content)), ModTime: epoch, Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	return errors.Join(err, w.Close())
}

func unpack(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// readArchive is the reverse of writeArchive: dir is where it may unpack.
func readArchive(file, dir string) (v1.ImageIndex, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if err := unpack(root, h.Name, r); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	inner, err := outer.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(inner.Manifests) != 1 {
		return nil, fmt.Errorf("%s: %d images, want 1", file, len(inner.Manifests))
	}
	return outer.ImageIndex(inner.Manifests[0].Digest)
}
