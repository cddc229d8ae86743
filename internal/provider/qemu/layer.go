package qemu

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

// addLayer makes an empty layer on another one of the same folder.
func addLayer(ctx context.Context, dir, below, layer string) error {
	// The name below without its folder: it is looked for beside the layer.
	return imageTool(ctx, dir, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below, layer)
}

// nodeOf is what QEMU calls a layer that it opened.
func nodeOf(layer string) string { return nodePrefix + strings.TrimSuffix(layer, layerSuffix) }

// layerOf is the reverse of nodeOf.
func layerOf(node string) (string, bool) {
	name, ok := strings.CutPrefix(node, nodePrefix)
	return name + layerSuffix, ok
}

const (
	nodePrefix  = "layer-"
	layerSuffix = ".qcow2"
)

func newLayer() string { return randomName() + layerSuffix }

// chain returns a layer and those that it stands on, lowest first.
func chain(dir, layer string) ([]string, error) {
	var all []string
	for layer != "" {
		all = append(all, layer)
		below, err := backing(filepath.Join(dir, layer))
		if err != nil {
			return nil, err
		}
		layer = below
	}
	slices.Reverse(all)
	return all, nil
}

// backing reads from a qcow2 file which file it stands on, "" for none. The
// header begins with a magic number, a version, and the place (64 bits) and
// length (32 bits) of that name; all numbers are big-endian.
func backing(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", localFile(err)
	}
	defer f.Close()
	var header [20]byte
	if _, err := io.ReadFull(f, header[:]); err != nil || string(header[:4]) != "QFI\xfb" {
		return "", fault.New(fault.LocalFile, "qemu: %s is no qcow2 file: %w", path, err)
	}
	length := binary.BigEndian.Uint32(header[16:])
	if length > 1023 { // the format's own limit
		return "", fault.New(fault.LocalFile, "qemu: %s stands on a name of %d bytes", path, length)
	}
	name := make([]byte, length)
	if _, err := f.ReadAt(name, int64(binary.BigEndian.Uint64(header[8:]))); err != nil {
		return "", localFile(err)
	}
	return string(name), nil
}

// imageTool runs qemu-img in dir.
func imageTool(ctx context.Context, dir string, args ...string) error {
	path, err := exec.LookPath("qemu-img")
	if err != nil {
		return fault.New(fault.ProviderRefused, "qemu: %w", err).
			WithRemedy("Install QEMU's tools: apt-get install qemu-utils")
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fault.New(fault.LocalFile, "qemu: qemu-img %s %s: %w", args[0], filepath.Join(dir, args[len(args)-1]), err).
			WithDetail(lastLines(said.Bytes(), maxTail))
	}
	return nil
}
