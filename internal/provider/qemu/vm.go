package qemu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/closeonexec"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/qemu/qmp"
)

// A vm is a folder in which at most one QEMU process runs. The process holds
// the lock on the file "alive" from before its first instruction until it is
// gone, so whether it runs is asked of the kernel.
type vm struct {
	dir string
	log *slog.Logger
}

const (
	aliveFile   = "alive"
	monitorFile = "monitor" // QEMU's monitor socket
	consoleFile = "console.log"
)

func (v vm) path(name string) string { return filepath.Join(v.dir, name) }

// markOf is the argument by which a QEMU process is known as the holder of an
// "alive" file. It says nothing that an argument could not hold.
func markOf(alive string) string {
	sum := sha256.Sum256([]byte(alive))
	return "outrigger-" + hex.EncodeToString(sum[:8])
}

// start starts QEMU and returns when its monitor answers. The process is no
// child of this one and outlives it.
func (v vm) start(ctx context.Context, binary string, args []string) error {
	alive, err := acquire(ctx, v.path(aliveFile))
	if err != nil {
		return err
	}
	defer alive.release() // of our copy: QEMU has its own
	if err := os.Remove(v.path(monitorFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.LocalFile, "qemu: %w", err)
	}
	if err := closeonexec.Inherited(); err != nil {
		return fault.New(fault.LocalFile, "qemu: %w", err)
	}
	args = append([]string{
		"-name", markOf(v.path(aliveFile)),
		"-daemonize",
		"-chardev", "socket,id=monitor,server=on,wait=off,path=" + monitorFile,
		"-mon", "chardev=monitor,mode=control",
	}, args...)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = v.dir
	cmd.SysProcAttr = detached()
	cmd.ExtraFiles = []*os.File{alive.file}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	// A QEMU that was started and then not waited for keeps the pipe open.
	cmd.WaitDelay = time.Second
	v.log.Debug("qemu starts", "command", strings.Join(cmd.Args, " "))
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fault.New(fault.ProviderRefused, "qemu: %s: %w", filepath.Base(binary), err).WithDetail(lastLines(said.Bytes(), maxTail))
	}
	return nil
}

// running tells whether there is a process.
func (v vm) running() (bool, error) {
	l, held, err := try(v.path(aliveFile), shared)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, fault.New(fault.LocalFile, "qemu: %w", err)
	}
	if !held {
		l.release()
	}
	return held, nil
}

// monitor opens a session with QEMU's monitor.
func (v vm) monitor(ctx context.Context) (*qmp.Conn, error) {
	conn, err := dialIn(ctx, v.dir, monitorFile)
	if err != nil {
		return nil, fmt.Errorf("qemu: monitor: %w", err)
	}
	return qmp.Open(ctx, conn)
}

// How long a process may take to follow each request to end. QEMU needs 20 ms
// to quit; more than a second passes only where its main loop hangs.
const (
	quitGrace = 2 * time.Second
	termGrace = 2 * time.Second
	killGrace = 20 * time.Second
)

// stop ends the process, if there is one, and returns when it is gone.
func (v vm) stop(ctx context.Context) error {
	for _, step := range []struct {
		ask   func(context.Context) error
		grace time.Duration
	}{
		{v.quit, quitGrace},
		{v.signal(syscall.SIGTERM), termGrace},
		{v.signal(syscall.SIGKILL), killGrace},
	} {
		limit, cancel := context.WithTimeout(ctx, step.grace)
		err := v.stopBy(limit, step.ask)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fault.New(fault.ProviderDown, "qemu: the process of %s does not end: %w", v.dir, context.Cause(ctx))
		}
		v.log.Debug("qemu does not end", "folder", v.dir, "error", err)
	}
	return fault.New(fault.ProviderDown, "qemu: the process of %s does not end, %s after it was killed", v.dir, killGrace)
}

// stopBy asks until there is no process. It asks more than once because a
// process that is just being started hears nothing yet.
func (v vm) stopBy(ctx context.Context, ask func(context.Context) error) error {
	for {
		running, err := v.running()
		if err != nil || !running {
			return err
		}
		asked := ask(ctx)
		for range 20 {
			running, err := v.running()
			if err != nil || !running {
				return err
			}
			if pause(ctx) != nil {
				return errors.Join(context.Cause(ctx), asked)
			}
		}
	}
}

func (v vm) quit(ctx context.Context) error {
	m, err := v.monitor(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Do(ctx, "quit", nil, nil)
}

func (v vm) signal(sig os.Signal) func(context.Context) error {
	return func(context.Context) error {
		all, err := holders(v.path(aliveFile))
		for _, p := range all {
			if e := p.Signal(sig); e != nil && !errors.Is(e, os.ErrProcessDone) {
				err = errors.Join(err, e)
			}
			err = errors.Join(err, p.Release())
		}
		return err
	}
}
