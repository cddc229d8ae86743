//go:build linux

package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// A fragile connection breaks after so many bytes, in the middle of whatever
// that is.
type fragile struct {
	io.ReadWriteCloser
	in, out atomic.Int64 // bytes left
}

var errCut = errors.New("cut")

// Read breaks within the last piece.
func (f *fragile) Read(b []byte) (int, error) {
	n, err := f.ReadWriteCloser.Read(b)
	if left := f.in.Add(-int64(n)); left < 0 {
		f.Close()
		return max(0, n+int(left)), errCut
	}
	return n, err
}

// Write breaks within the last piece.
func (f *fragile) Write(b []byte) (int, error) {
	if left := f.out.Add(-int64(len(b))); left < 0 {
		n, _ := f.ReadWriteCloser.Write(b[:max(0, len(b)+int(left))]) // it is being cut
		f.Close()
		return n, errCut
	}
	return f.ReadWriteCloser.Write(b)
}

// dialFragile dials connections that break at drawn points; the last of cuts is whole.
func (h *host) dialFragile(rnd *rand.Rand, cuts int) runclient.Dial {
	return func(ctx context.Context) (*wire.Conn, error) {
		p, err := h.start("connect")
		if err != nil {
			return nil, err
		}
		var rwc io.ReadWriteCloser = p
		if cuts > 0 {
			cuts--
			f := &fragile{ReadWriteCloser: p}
			// Short and long lives: from the middle of the greeting to most of the run.
			f.in.Store(rnd.Int63n(1 << (4 + rnd.Intn(15))))
			f.out.Store(rnd.Int63n(1 << (4 + rnd.Intn(15))))
			rwc = f
		}
		conn := wire.NewConn(rwc)
		if err := conn.Greet("test", machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); err != nil {
			return nil, err
		}
		if err := conn.Flush(); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

func TestBrokenConnectionsLoseAndDoubleNothing(t *testing.T) {
	seeds := 200
	if testing.Short() || raceFlags != nil { // which is ten times slower
		seeds = 20
	}
	h := newHost(t)
	h.lease("a")
	var tasks sync.WaitGroup
	next := make(chan int)
	for range 8 {
		tasks.Go(func() {
			for seed := range next {
				if err := h.brokenRun(t.Context(), int64(seed)); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	for seed := range seeds {
		next <- seed
	}
	close(next)
	tasks.Wait()
}

// brokenRun sends random bytes through a run and back on both streams, over
// connections that break.
func (h *host) brokenRun(ctx context.Context, seed int64) error {
	rnd := rand.New(rand.NewSource(seed))
	want := make([]byte, rnd.Intn(300_000))
	rnd.Read(want)
	spec := wire.RunSpec{RunID: fmt.Sprintf("seed-%d", seed), Lease: "a", Argv: []string{"/bin/sh", "-c", fmt.Sprintf("tee /dev/stderr; exit %d", seed%7)}}
	var out, errs bytes.Buffer
	exit, err := runclient.Run(ctx, h.dialFragile(rnd, 2+rnd.Intn(4)), spec,
		runclient.Streams{In: bytes.NewReader(want), Out: &out, Err: &errs}, runclient.Options{})
	switch {
	case err != nil:
		return err
	case exit.Code != int(seed%7) || exit.Signal != "":
		return fmt.Errorf("exit is %+v", exit)
	case !bytes.Equal(out.Bytes(), want) || !bytes.Equal(errs.Bytes(), want):
		return fmt.Errorf("%d and %d bytes came back, want %d and the same", out.Len(), errs.Len(), len(want))
	}
	return nil
}

func TestSilentConnectionIsNoticedAndReplaced(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	go_ := filepath.Join(l.Work, "go")
	var lost, back atomic.Int32
	var first atomic.Pointer[pipe]
	dial := func(ctx context.Context) (*wire.Conn, error) {
		p, err := h.start("connect")
		if err != nil {
			return nil, err
		}
		first.CompareAndSwap(nil, p)
		conn := wire.NewConn(p)
		return conn, conn.Greet("test", machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH})
	}
	// A stopped process is a line that is dead without having been closed.
	stop := func() {
		if err := first.Load().cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
	}
	spec := h.spec(sh("echo one; while ! test -e go; do sleep 0.01; done; echo two"))
	var out bytes.Buffer
	w := writerFunc(func(b []byte) (int, error) {
		if out.Len() == 0 {
			stop()
		}
		return out.Write(b)
	})
	_, err := runclient.Run(t.Context(), dial, spec, runclient.Streams{Out: w}, runclient.Options{
		Ping: 50 * time.Millisecond,
		Lost: func(error) { lost.Add(1) },
		Back: func() {
			back.Add(1)
			if err := os.WriteFile(go_, nil, 0o600); err != nil {
				t.Error(err)
			}
		},
	})
	if err != nil || out.String() != "one\ntwo\n" || lost.Load() == 0 || back.Load() == 0 {
		t.Errorf("got %q, %v; lost %d times and back %d times", out.String(), err, lost.Load(), back.Load())
	}
}

type writerFunc func([]byte) (int, error)

// Write calls f.
func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// onceDial dials once; then the machine is out of reach.
func (h *host) onceDial(conns *[]*wire.Conn) runclient.Dial {
	var dialled atomic.Bool
	return func(ctx context.Context) (*wire.Conn, error) {
		if dialled.Swap(true) {
			return nil, fault.New(fault.Unreachable, "no way")
		}
		conn, err := h.dial(ctx)
		*conns = append(*conns, conn)
		return conn, err
	}
}

// A machine, or what is between, that answers each time and breaks at once: it was tried for ever, twenty times a second.
func TestAConnectionThatAnswersAndBreaksIsNoWayBack(t *testing.T) {
	h := newHost(t)
	h.lease("a")
	var last *wire.Conn
	dial := func(ctx context.Context) (conn *wire.Conn, err error) {
		last, err = h.dial(ctx)
		return last, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	back := 0
	_, err := runclient.Run(ctx, dial, h.spec(sh("exec sleep 600")), runclient.Streams{}, runclient.Options{
		Redial: 300 * time.Millisecond, Started: func() { last.Close() }, Back: func() { back++; last.Close() },
	})
	if !fault.Is(err, fault.MachineLost) || back == 0 {
		t.Errorf("got %v after %d times, want MachineLost", err, back)
	}
}

func TestAbsentClientsRunIsEnded(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	spec := h.spec(sh("trap 'echo asked >>ending; exit 1' TERM; echo started; while :; do sleep 0.01; done"))
	spec.Absence = 50 * time.Millisecond
	var conns []*wire.Conn
	started := writerFunc(func(b []byte) (int, error) { conns[0].Close(); return len(b), nil })
	_, err := runclient.Run(t.Context(), h.onceDial(&conns), spec, runclient.Streams{Out: started}, runclient.Options{Redial: 100 * time.Millisecond})
	if !fault.Is(err, fault.MachineLost) {
		t.Errorf("got %v, want MachineLost", err)
	}
	h.await("the run's end", func() bool {
		b, err := os.ReadFile(filepath.Join(l.Work, "ending"))
		return err == nil && string(b) == "asked\n"
	})
	h.await("the daemon to forget it", func() bool { return len(h.running()) == 0 })
}

// running lists what the daemon holds.
func (h *host) running() []wire.RunState {
	h.t.Helper()
	conn, err := h.dial(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	var list wire.RunList
	if err := conn.Call(wire.MethodRunList, nil, &list); err != nil {
		h.t.Fatal(err)
	}
	return list.Runs
}

func TestSlowReaderHoldsTheProgramBack(t *testing.T) {
	h := newHost(t)
	l := h.lease("a")
	// Nobody reads: the program must stop at the spool's limit, the window and
	// the pipes, and go on when somebody does.
	const limit, total = 1 << 20, 64 << 20
	spec := h.spec(sh(fmt.Sprintf("for i in $(seq 1 64); do head -c %d /dev/zero; echo $i >>progress; done", total/64)))
	spec.SpoolLimit = limit
	release := make(chan struct{})
	var n int
	w := writerFunc(func(b []byte) (int, error) {
		<-release
		n += len(b)
		return len(b), nil
	})
	go func() {
		defer close(release)
		last, same := -1, 0
		h.await("the program to be held back", func() bool {
			b, err := os.ReadFile(filepath.Join(l.Work, "progress"))
			if err != nil {
				return false
			}
			if len(b) != last {
				last, same = len(b), 0
				return false
			}
			same++
			return same > 100
		})
		if b, err := os.ReadFile(filepath.Join(l.Work, "progress")); err != nil || bytes.Count(b, []byte("\n")) > 16 {
			t.Errorf("%d MiB were said with a limit of 1 MiB, %v", bytes.Count(b, []byte("\n")), err)
		}
	}()
	exit, err := runclient.Run(t.Context(), h.dial, spec, runclient.Streams{Out: w}, runclient.Options{})
	if err != nil || exit.Code != 0 || n != total {
		t.Errorf("got %+v, %v, %d bytes, want %d", exit, err, n, total)
	}
}
