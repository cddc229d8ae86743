package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// cutter is a connection that breaks after some bytes, counted in both
// directions.
type cutter struct {
	net.Conn
	mu   sync.Mutex
	left int
	used int
}

func (c *cutter) spend(n int) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used += n
	if c.left < 0 {
		return n, true
	}
	if n >= c.left {
		n = c.left
		c.left = 0
		return n, false
	}
	c.left -= n
	return n, true
}

func (c *cutter) Write(p []byte) (int, error) {
	n, ok := c.spend(len(p))
	k, err := c.Conn.Write(p[:n])
	if !ok {
		c.Conn.Close()
		return k, errors.New("cut")
	}
	return k, err
}

func (c *cutter) Read(p []byte) (int, error) {
	k, err := c.Conn.Read(p)
	n, ok := c.spend(k)
	if !ok {
		c.Conn.Close()
		return n, errors.New("cut")
	}
	return k, err
}

func (p *pair) cut(after int, op func(*transfer.Session, context.Context) (transfer.Report, error)) (used int, err error) {
	var c *cutter
	err = p.session(func(conn net.Conn) net.Conn {
		c = &cutter{Conn: conn, left: after}
		return c
	}, func(ctx context.Context, s *transfer.Session) error {
		_, err := op(s, ctx)
		return err
	})
	return c.used, err
}

// TestCutAnywhere cuts a first sync, a later one and one back at random bytes,
// several times in a row, and repeats until it is through.
func TestCutAnywhere(t *testing.T) {
	noGoroutines(t)
	for seed := range seeds(t, 8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 2))
			p := newPair(t)
			p.believe = true
			edit(t, r, p.near, 25)
			p.cutUntilThrough(r, (*transfer.Session).Up)
			p.wantEqual()
			for range 3 {
				edit(t, r, p.near, 6)
				want := look(t, p.near)
				p.cutUntilThrough(r, (*transfer.Session).Up)
				checkWorld(t, "far after up", want, look(t, p.far))
				checkWorld(t, "near after up", want, look(t, p.near))
				edit(t, r, p.far, 6)
				want = look(t, p.far)
				p.cutUntilThrough(r, (*transfer.Session).Back)
				checkWorld(t, "near after back", want, look(t, p.near))
				checkWorld(t, "far after back", want, look(t, p.far))
				if t.Failed() {
					return
				}
			}
		})
	}
}

// cutUntilThrough cuts three times at a random byte of the whole, then lets go.
func (p *pair) cutUntilThrough(r *rand.Rand, op func(*transfer.Session, context.Context) (transfer.Report, error)) {
	p.t.Helper()
	size := 2000
	for range 3 {
		used, err := p.cut(r.IntN(size), op)
		size = max(2*used, 500)
		if err != nil && !fault.Is(err, fault.Unreachable) {
			p.t.Fatalf("cut: got %v, want the machine to be unreachable", err)
		}
		noTemp(p.t, p.near)
	}
	if _, err := p.cut(-1, op); err != nil {
		p.t.Fatalf("not cut, but: %v", err)
	}
	noTemp(p.t, p.near, p.far)
}

// TestCancelEndsPromptly cancels before anything has happened, and in the
// middle, both ways.
func TestCancelEndsPromptly(t *testing.T) {
	noGoroutines(t)
	for _, after := range []int64{-1, 5 << 20} {
		p := newPair(t)
		p.believe = true
		p.mustUp()
		cancelled := func(from string, op func(*transfer.Session, context.Context) (transfer.Report, error)) {
			t.Helper()
			for i := range 20 {
				write(t, from, map[string]string{fmt.Sprint("f", i): strings.Repeat(fmt.Sprint(i), 1<<20)})
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if after < 0 {
				cancel()
			}
			p.progress = func(now transfer.Progress) {
				if now.Bytes > after {
					cancel()
				}
			}
			err := p.session(nil, func(_ context.Context, s *transfer.Session) error {
				_, err := op(s, ctx)
				return err
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("after %d bytes: got %v, want cancelled", after, err)
			}
			noTemp(t, p.near)
			p.progress = nil
		}
		cancelled(p.near, (*transfer.Session).Up)
		p.mustUp()
		p.wantEqual()
		for i := range 20 {
			remove(t, p.far, fmt.Sprint("f", i))
		}
		p.mustBack()
		cancelled(p.far, (*transfer.Session).Back)
		p.mustBack()
		p.wantEqual()
		noTemp(t, p.near, p.far)
	}
}

func TestSessionGoesOnAfterAFault(t *testing.T) {
	noGoroutines(t)
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1"})
	err := p.session(nil, func(ctx context.Context, s *transfer.Session) error {
		if _, err := s.Up(ctx); err != nil {
			return err
		}
		write(t, p.near, map[string]string{"a": "near"})
		write(t, p.far, map[string]string{"a": "far!"})
		if _, err := s.Up(ctx); !fault.Is(err, fault.Conflict) {
			return fmt.Errorf("want a conflict, got: %w", err)
		}
		write(t, p.near, map[string]string{"a": "far!"})
		if _, err := s.Up(ctx); err != nil {
			return err
		}
		_, err := s.Back(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantEqual()
}

// TestFileThatKeepsChanging appends to a file whenever it is read.
func TestFileThatKeepsChanging(t *testing.T) {
	noGoroutines(t)
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1", "log": strings.Repeat("x", 8<<20), "z": "1"})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		f, err := os.OpenFile(filepath.Join(p.near, "log"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return // the sync then succeeds, which fails the test
		}
		defer f.Close()
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := f.WriteString("y"); err != nil {
					return
				}
			}
		}
	}()
	_, err := p.up()
	close(stop)
	<-done
	if !fault.Is(err, fault.FileChanged) || !strings.Contains(err.Error(), "log") {
		t.Errorf("got %v, want the changing file named", err)
	}
	noTemp(t, p.near, p.far)
	p.mustUp()
	p.wantEqual()
}

// TestSilentEdit changes a file right after a sync, without changing its size
// or time, as fast as possible: the clock of the file system may not tick.
func TestSilentEdit(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "0"})
	p.mustUp()
	for i := range 50 {
		path := filepath.Join([]string{p.near, p.far}[i%2], "a")
		fi, err := os.Stat(path)
		must(t, err)
		must(t, os.WriteFile(path, []byte(fmt.Sprint(i%10)), 0o644))
		must(t, os.Chtimes(path, time.Time{}, fi.ModTime()))
		want := map[string]string{"a": fmt.Sprint(i % 10)}
		if i%2 == 0 {
			p.mustUp()
		} else {
			p.mustBack()
		}
		for _, root := range []string{p.near, p.far} {
			if diff := cmp.Diff(want, contents(t, root)); diff != "" {
				t.Fatalf("edit %d was missed:\n%s", i, diff)
			}
		}
	}
}
