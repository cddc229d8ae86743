package qemu

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"

	"outrigger.dev/outrigger/internal/fault"
)

// addLayer makes an empty layer on another one of the same folder.
func addLayer(ctx context.Context, dir, below, layer string) error {
	// The name below without its folder: it is looked for beside the layer.
	return imageTool(ctx, dir, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below, layer)
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
