//go:build linux || darwin

package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/closeonexec"
)

// startLimit is how long a server may take to listen. It takes milliseconds;
// this is for a computer that swaps.
const startLimit = 30 * time.Second

// run makes sure that the server runs and listens. One that is just starting,
// for a maker who has died, will do.
func (f *folder) run(ctx context.Context, self []string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if !f.alive() {
			if err := start(ctx, self, f.dir); err != nil && !f.alive() {
				return err
			}
		}
		if _, err := f.running(); err == nil && f.alive() {
			return nil
		}
		select {
		case <-time.After(endPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// start starts the server and waits until it listens. The server is a
// grandchild, so that it belongs to nobody who would have to wait for it.
func start(ctx context.Context, self []string, dir string) error {
	c := exec.CommandContext(ctx, self[0], append(self[1:len(self):len(self)], "start", dir)...)
	words := &bytes.Buffer{}
	c.Stderr = words
	c.WaitDelay = time.Second // its child might hold stderr
	err := c.Run()
	if err != nil && words.Len() > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(words.String()))
	}
	return err
}

// startMain starts the process of a machine, detached from everything of its
// maker's, and waits until it is ready.
func startMain(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := closeonexec.Inherited(); err != nil {
		return err
	}
	log, err := os.OpenFile(dir+"/log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	ready, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	c := exec.Command(self, ServeCommand, "serve", dir) //nolint:noctx // it is to outlive whoever starts it
	c.Stdout, c.Stderr = log, log
	c.ExtraFiles = []*os.File{tell}
	c.Dir = "/" // so that no file system is held that somebody wants to unmount
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return err
	}
	if err := tell.Close(); err != nil {
		return err
	}
	word, err := io.ReadAll(ready)
	if err != nil {
		return err
	}
	if string(word) == readyWord {
		return c.Process.Release()
	}
	return c.Wait() // the log says why
}

// readyWord goes through the inherited pipe when the server listens.
const readyWord = "ready"

// lastWords returns the end of the server's log.
func (f *folder) lastWords() string {
	b, err := os.ReadFile(f.path("log"))
	if err != nil {
		return "" // it did not get so far as to say anything
	}
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}
