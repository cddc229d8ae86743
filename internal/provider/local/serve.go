//go:build linux || darwin

package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/machine"
)

// ServeMain is the process of one machine: it serves SSH until the machine
// expires or is deleted. It returns the exit code.
func ServeMain(args []string) int {
	err := errors.New("this command is internal to Outrigger")
	if len(args) == 2 {
		switch args[0] {
		case "start":
			err = startMain(args[1])
		case "serve":
			err = serveMain(args[1])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveMain(dir string) error {
	f := &folder{name: machine.Name(filepath.Base(dir)), dir: dir}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("machine", f.name)
	rec, err := f.record()
	if err != nil {
		return err
	}
	alive, err := f.live()
	if err != nil {
		return err
	}
	// It is the end of the process that unlocks: who waits for the lock waits for
	// the process to be gone.
	defer runtime.KeepAlive(alive)
	// SIGHUP is for those who have a terminal.
	signal.Ignore(syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if !rec.Expires.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, rec.Expires)
		defer cancel()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s, err := newServer(f, log)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	run := running{PID: os.Getpid(), Started: time.Now().UTC(), Port: ln.Addr().(*net.TCPAddr).Port}
	if err := f.write("run.json", run); err != nil {
		return errors.Join(err, ln.Close())
	}
	if err := tellReady(); err != nil {
		return errors.Join(err, ln.Close())
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go f.watch(ctx, end)
	s.serve(ctx, ln)
	log.Info("server ends", "cause", context.Cause(ctx))
	// What runs here must not outlive the machine, and ctx is over already.
	err = endMarked(context.WithoutCancel(ctx), f.dir)
	s.wg.Wait()
	return err
}

// goneCheck is how often the server looks whether its folder is still there.
const goneCheck = 2 * time.Second

var errGone = errors.New("the machine's folder was removed")

// watch ends the server when somebody removes the folder under it, as a person
// who tidies up may do: nobody else would ever find the server again.
func (f *folder) watch(ctx context.Context, end context.CancelCauseFunc) {
	t := time.NewTicker(goneCheck)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if _, err := os.Stat(f.path("run.json")); errors.Is(err, fs.ErrNotExist) {
			end(errGone)
		}
	}
}

// liveWait is how long a lock may be held by somebody who only looks whether
// the machine is alive.
const liveWait = time.Second

// live takes the lock that says that the machine is alive; it ends with this
// process. What an earlier server wrote of itself is no longer true.
func (f *folder) live() (*flock.Flock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), liveWait)
	defer cancel()
	alive := flock.New(f.path("alive"))
	if _, err := alive.TryLockContext(ctx, endPoll); err != nil {
		return nil, fmt.Errorf("another server runs for this machine: %w", err)
	}
	if err := os.Remove(f.path("run.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, alive.Close())
	}
	return alive, nil
}

// tellReady tells startMain, through the pipe that it passed on.
func tellReady() error {
	w := os.NewFile(3, "ready")
	_, err := w.WriteString(readyWord)
	return errors.Join(err, w.Close())
}
