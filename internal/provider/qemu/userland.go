package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/qemu/guest"
)

// make fills the draft with a kernel, an initial RAM disk and the one layer of
// a disk.
func (b builder) make(ctx context.Context) (layers []string, err error) {
	dir := b.draft.dir
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return nil, localFile(err)
	}
	root, err := b.userland(ctx, work)
	if err != nil {
		return nil, err
	}
	b.stage("initial RAM disk")
	if err := takeBoot(root, dir); err != nil {
		return nil, err
	}
	b.stage("file system")
	raw := filepath.Join(work, "disk.raw")
	mkfs, err := b.asRoot(ctx, work, "mkfs.ext4", "-q", "-L", "outrigger", "-m", "0", "-E", "lazy_itable_init=1,nodiscard",
		"-d", root, raw, fmt.Sprintf("%dG", b.p.cfg.DiskGiB))
	if err != nil {
		return nil, err
	}
	if err := b.run(ctx, mkfs); err != nil {
		return nil, err
	}
	b.stage("disk image")
	layer := newLayer()
	if err := imageTool(ctx, dir, "convert", "-O", "qcow2", raw, layer); err != nil {
		return nil, err
	}
	return []string{layer}, localFile(os.RemoveAll(work))
}

// userland makes the guest's files below work and returns their folder. Root
// makes them in place; others in a name space of their own, out of which they
// come as an archive.
func (b builder) userland(ctx context.Context, work string) (root string, err error) {
	sources, err := guest.Sources()
	if err != nil {
		return "", fault.New(fault.Internal, "qemu: %w", err)
	}
	if err := os.CopyFS(filepath.Join(work, "src"), sources); err != nil {
		return "", localFile(err)
	}
	customize, err := fs.ReadFile(sources, "customize.sh")
	if err != nil {
		return "", fault.New(fault.Internal, "qemu: %w", err)
	}
	root = filepath.Join(work, "root")
	format, target := "directory", root
	if os.Geteuid() != 0 {
		format, target = "tar", filepath.Join(work, "root.tar")
	}
	args := []string{
		"--variant=apt", "--format=" + format, "--include=" + strings.Join(b.packages, ","),
		"--dpkgopt=force-unsafe-io", // nothing here or in a machine outlives a power cut
	}
	for _, path := range leftOut {
		args = append(args, "--dpkgopt=path-exclude="+path)
	}
	for _, option := range b.origin.options {
		args = append(args, "--aptopt="+option)
	}
	copyIn := "copy-in"
	for _, name := range []string{"init.c", "personality.c", "guest.h"} {
		copyIn += " " + quote(filepath.Join(work, "src", name))
	}
	args = append(args,
		`--customize-hook=mkdir -p "$1/usr/src/outrigger"`,
		"--customize-hook="+copyIn+" /usr/src/outrigger",
		fmt.Sprintf("--customize-hook=KERNEL=%s MODULES='%s'\n%s", b.arch.kernel, bootModules, customize),
		b.origin.release, target)
	args = append(args, b.origin.sources...)
	if err := b.run(ctx, exec.CommandContext(ctx, "mmdebstrap", args...)); err != nil {
		return "", err
	}
	if format == "tar" {
		b.stage("unpacking")
		if err := os.Mkdir(root, 0o755); err != nil {
			return "", localFile(err)
		}
		tar, err := b.asRoot(ctx, work, "tar", "-xpf", target, "-C", root, "--exclude=./dev/*")
		if err != nil {
			return "", err
		}
		if err := b.run(ctx, tar); err != nil {
			return "", err
		}
	}
	return root, nil
}

// asRoot makes a command that sees files, and makes them, as if it were root's.
// What it does so is remembered in work for the next one.
func (b builder) asRoot(ctx context.Context, work, name string, args ...string) (*exec.Cmd, error) {
	path, err := lookTool(name)
	if err != nil {
		return nil, fault.New(fault.ProviderRefused, "qemu: %w", err)
	}
	if os.Geteuid() == 0 {
		return exec.CommandContext(ctx, path, args...), nil
	}
	state := filepath.Join(work, "fakeroot")
	f, err := os.OpenFile(state, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, localFile(err)
	}
	f.Close()
	return exec.CommandContext(ctx, "fakeroot", append([]string{"-i", state, "-s", state, path}, args...)...), nil
}

// toldToEnd is how long a step has to clean up after it was told to end.
const toldToEnd = 10 * time.Second

// run executes a step of the build. It inherits the lock on the draft, so that
// nobody takes the draft for abandoned while a step outlives us.
func (b builder) run(ctx context.Context, cmd *exec.Cmd) error {
	said := &listener{stage: b.stage}
	cmd.ExtraFiles = []*os.File{b.draft.maker.file}
	cmd.Cancel = func() error { return signalGroup(cmd.Process, syscall.SIGTERM) }
	cmd.WaitDelay = toldToEnd
	cmd.SysProcAttr = apart()
	cmd.Stdout, cmd.Stderr = said, said
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if err := cmd.Start(); err != nil {
		return fault.New(fault.ProviderDown, "qemu: build of image %s: %w", b.spec.Name, err)
	}
	err := cmd.Wait()
	// Of a step that failed or was cancelled, something may still run.
	err = errors.Join(err, signalGroup(cmd.Process, syscall.SIGKILL))
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fault.New(fault.ProviderDown, "qemu: build of image %s: %s: %w", b.spec.Name, filepath.Base(cmd.Path), err).
			WithDetail(lastLines(said.all, maxTail))
	}
	return nil
}

// A listener keeps the end of what a program says, and takes mmdebstrap's
// words on what it does for stages.
type listener struct {
	stage func(format string, args ...any)
	all   []byte
	line  []byte
}

// Write implements [io.Writer].
func (l *listener) Write(b []byte) (int, error) {
	l.all = append(l.all, b...)
	l.all = l.all[max(0, len(l.all)-2*maxTail):]
	l.line = append(l.line, b...)
	for {
		line, rest, ok := bytes.Cut(l.line, []byte("\n"))
		if !ok {
			l.line = l.line[max(0, len(l.line)-maxTail):]
			return len(b), nil
		}
		l.line = rest
		words, said := strings.CutPrefix(string(line), "I: ")
		words, doing := strings.CutSuffix(words, "...")
		if said && doing && !strings.ContainsAny(words, "/()") {
			l.stage("%s", words)
		}
	}
}

// takeBoot takes what customize.sh put aside: the kernel, and what the initial
// RAM disk is made of.
func takeBoot(root, dir string) error {
	boot := filepath.Join(root, "usr/lib/outrigger")
	files := []guest.InitFile{{Path: "init", Mode: 0o755}}
	modules, err := os.ReadDir(filepath.Join(boot, "modules"))
	if err != nil {
		return localFile(err)
	}
	for _, m := range modules {
		files = append(files, guest.InitFile{Path: "modules/" + m.Name(), Mode: 0o644})
	}
	for i := range files {
		if files[i].Content, err = os.ReadFile(filepath.Join(boot, files[i].Path)); err != nil {
			return localFile(err)
		}
	}
	initrd, err := os.OpenFile(filepath.Join(dir, initrdFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return localFile(err)
	}
	if err := errors.Join(guest.WriteInitrd(initrd, files), initrd.Close()); err != nil {
		return localFile(err)
	}
	kernel, err := os.ReadFile(filepath.Join(boot, kernelFile))
	if err != nil {
		return localFile(err)
	}
	if err := os.WriteFile(filepath.Join(dir, kernelFile), kernel, 0o600); err != nil {
		return localFile(err)
	}
	return localFile(os.RemoveAll(boot))
}

// quote makes s one word for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
