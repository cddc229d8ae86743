//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// An image is what containerd is given: one layer, which is not compressed, as it
// goes no farther than through a pipe.
type image struct {
	name       string // registry.local/...:tag
	key        string // names the content
	entrypoint []string
	layer      func() (file string, err error) // a tar file
	remove     bool                            // the file afterwards
}

// label is a second name, by which an image of that content is found.
func (i image) label() string {
	return "registry.local/bed/" + strings.NewReplacer("/", "-", ":", "-").Replace(strings.TrimPrefix(i.name, "registry.local/")) + ":" + i.key
}

// images are those of the cluster itself.
func (b *bed) images(pause, tools string) []image {
	list := []image{
		{name: "registry.local/pause:1", key: filepath.Base(pause), entrypoint: []string{"/pause"}, layer: program(filepath.Join(pause, "pause"), "/pause"), remove: true},
		{name: b.dnsImage(), key: filepath.Base(b.coredns), entrypoint: []string{"/coredns"}, layer: program(filepath.Join(b.coredns, "coredns"), "/coredns"), remove: true},
		{name: toolsImage, key: strings.TrimSuffix(filepath.Base(tools), ".tar"), entrypoint: nil, layer: func() (string, error) { return tools, nil }},
	}
	for _, name := range tektonImages {
		list = append(list, image{
			name: b.tektonImage(name), key: filepath.Base(b.tekton), entrypoint: []string{"/ko-app/" + name},
			layer: program(filepath.Join(b.tekton, name), "/ko-app/"+name), remove: true,
		})
	}
	return list
}

// load gives containerd the images that it lacks.
func (b *bed) load(ctx context.Context, list []image) error {
	out, err := b.ctr(ctx, "images", "ls", "-q")
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for line := range strings.Lines(out) {
		have[strings.TrimSpace(line)] = true
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, i := range list {
		if have[i.name] && have[i.label()] {
			continue
		}
		g.Go(func() error {
			if err := b.importImage(ctx, i); err != nil {
				return fmt.Errorf("image %s: %w", i.name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (b *bed) importImage(ctx context.Context, i image) (err error) {
	layer, err := i.layer()
	if err != nil {
		return err
	}
	if i.remove {
		defer func() { err = errors.Join(err, os.Remove(layer)) }()
	}
	cmd := exec.CommandContext(ctx, "ctr", "-a", b.socket(), "-n", "k8s.io", "images", "import", "--all-platforms", "-")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	writeErr := errors.Join(writeImage(in, i, layer), in.Close())
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return writeErr
}

// writeImage writes an OCI image layout as a tar.
func writeImage(w io.Writer, i image, layer string) error {
	file, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	size, err := io.Copy(h, file)
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	layerDigest := fmt.Sprintf("sha256:%x", h.Sum(nil))
	type object = map[string]any
	var failed error
	marshal := func(v any) []byte {
		data, err := json.Marshal(v)
		failed = errors.Join(failed, err)
		return data
	}
	digest := func(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }
	config := object{"Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	if i.entrypoint != nil {
		config["Entrypoint"] = i.entrypoint
	}
	configBlob := marshal(object{
		"architecture": "amd64", "os": "linux", "config": config,
		"rootfs": object{"type": "layers", "diff_ids": []string{layerDigest}},
	})
	const kind = "application/vnd.oci.image."
	manifest := marshal(object{
		"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
		"config": object{"mediaType": kind + "config.v1+json", "digest": digest(configBlob), "size": len(configBlob)},
		"layers": []any{object{"mediaType": kind + "layer.v1.tar", "digest": layerDigest, "size": size}},
	})
	var manifests []any
	for _, name := range []string{i.name, i.label()} { // the label last: it says that all is there
		manifests = append(manifests, object{
			"mediaType": kind + "manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
			"annotations": object{"io.containerd.image.name": name}, "platform": object{"architecture": "amd64", "os": "linux"},
		})
	}
	index := marshal(object{"schemaVersion": 2, "mediaType": kind + "index.v1+json", "manifests": manifests})
	layout := []byte(`{"imageLayoutVersion":"1.0.0"}`)
	if failed != nil {
		return failed
	}
	out := tar.NewWriter(w)
	blob := func(digest string) string { return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:") }
	for _, f := range []struct {
		name string
		data []byte
	}{{"oci-layout", layout}, {"index.json", index}, {blob(digest(manifest)), manifest}, {blob(digest(configBlob)), configBlob}} {
		if err := out.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data))}); err != nil {
			return err
		}
		if _, err := out.Write(f.data); err != nil {
			return err
		}
	}
	if err := out.WriteHeader(&tar.Header{Name: blob(layerDigest), Mode: 0o644, Size: size}); err != nil {
		return err
	}
	if _, err := io.Copy(out, file); err != nil {
		return err
	}
	return out.Close()
}

// program makes a layer of one static program and what such a program may look for.
func program(source, at string) func() (string, error) {
	return func() (file string, err error) {
		data, err := os.ReadFile(source)
		if err != nil {
			return "", err
		}
		out, err := os.CreateTemp("", "outrigger-layer-")
		if err != nil {
			return "", err
		}
		defer func() {
			if err = errors.Join(err, out.Close()); err != nil {
				err = errors.Join(err, os.Remove(out.Name()))
			}
		}()
		w := tar.NewWriter(out)
		entry := func(name string, kind byte, mode int64, data []byte) {
			if err == nil {
				err = w.WriteHeader(&tar.Header{Typeflag: kind, Name: strings.TrimPrefix(name, "/"), Mode: mode, Size: int64(len(data)), ModTime: time.Unix(0, 0)})
			}
			if err == nil {
				_, err = w.Write(data)
			}
		}
		for _, dir := range []string{"etc", "root", "workspace", path.Dir(at)} {
			if dir != "/" {
				entry(dir+"/", tar.TypeDir, 0o755, nil)
			}
		}
		entry("tmp/", tar.TypeDir, 0o1777, nil)
		entry("etc/passwd", tar.TypeReg, 0o644, []byte("root:x:0:0:root:/root:/\nnonroot:x:65532:65532::/tmp:/\n"))
		entry("etc/group", tar.TypeReg, 0o644, []byte("root:x:0:\nnonroot:x:65532:\n"))
		entry(at, tar.TypeReg, 0o755, data)
		if err == nil {
			err = w.Close()
		}
		return out.Name(), err
	}
}
