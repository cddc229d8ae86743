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
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/transfer"
	"outrigger.dev/outrigger/test/soak"
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
	for _, seed := range soak.Seeds(t, 8) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
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

// meddle repeats a change until the returned function is called.
func meddle(t *testing.T, change func(i int) error) (stop func()) {
	t.Helper()
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-end:
				done <- nil
				return
			default:
				if err := change(i); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	return func() {
		close(end)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestALogThatGrows appends to a file as fast as possible: what comes is its
// beginning, and everything else.
func TestALogThatGrows(t *testing.T) {
	noGoroutines(t)
	for _, size := range []int{10, 8 << 20} {
		p := newPair(t)
		write(t, p.near, map[string]string{"a": "1", "log": strings.Repeat("x", size), "z": "1"})
		for round := range 2 {
			f, err := os.OpenFile(filepath.Join(p.near, "log"), os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			stop := meddle(t, func(int) error {
				_, err := f.WriteString("y")
				return err
			})
			_, err = p.up()
			stop()
			must(t, errors.Join(err, f.Close()))
			now, got := contents(t, p.near), contents(t, p.far)
			if !strings.HasPrefix(now["log"], got["log"]) || len(got["log"]) < size || got["a"] != "1" || got["z"] != "1" {
				t.Errorf("size %d, round %d: %d bytes came of %d, and %d files", size, round, len(got["log"]), len(now["log"]), len(got))
			}
		}
		noTemp(t, p.near, p.far)
		p.mustUp()
		p.wantEqual()
	}
}

// TestAFileThatIsRewritten changes a large file in place as fast as possible. It
// may be left then, and nothing but it.
func TestAFileThatIsRewritten(t *testing.T) {
	noGoroutines(t)
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1", "db": strings.Repeat("x", 8<<20), "z": "1"})
	f, err := os.OpenFile(filepath.Join(p.near, "db"), os.O_RDWR, 0)
	must(t, err)
	stop := meddle(t, func(i int) error {
		_, err := f.WriteAt([]byte{byte(i)}, int64(i%(8<<20)))
		return err
	})
	_, err = p.up()
	stop()
	must(t, f.Close())
	if err != nil {
		wantLeft(t, err, fault.PathsLeft, "db")
	}
	if got := contents(t, p.far); got["a"] != "1" || got["z"] != "1" {
		t.Errorf("there: %d files", len(got))
	}
	noTemp(t, p.near, p.far)
	p.mustUp()
	p.wantEqual()
}

// TestFilesThatComeAndGo makes and removes files and folders on both sides all
// the time: no sync fails of it, and none loses anything else.
func TestFilesThatComeAndGo(t *testing.T) {
	noGoroutines(t)
	p := newPair(t)
	p.prefer = plan.Near
	for i := range 100 {
		write(t, p.near, map[string]string{fmt.Sprintf("keep/%d", i): fmt.Sprint(i)})
	}
	come := func(root, name string) func(int) error {
		return func(i int) error {
			dir := filepath.Join(root, fmt.Sprint(name, i%5))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "f"), []byte(fmt.Sprint(i)), 0o644); err != nil {
				return err
			}
			return os.RemoveAll(filepath.Join(root, fmt.Sprint(name, (i+2)%5)))
		}
	}
	p.mustUp()
	stops := []func(){meddle(t, come(p.near, "near")), meddle(t, come(p.far, "far"))}
	for i := range 5 {
		for _, op := range []func() (transfer.Report, error){p.up, p.back} {
			// Only what changed at the very moment may be left.
			if _, err := op(); err != nil && !fault.Is(err, fault.Conflict) {
				t.Errorf("round %d: %v\n%s", i, err, asFault(err).Detail)
			}
		}
	}
	for _, stop := range stops {
		stop()
	}
	p.mustUp()
	p.mustBack()
	p.mustUp()
	p.wantEqual()
	if got := len(contents(t, p.near)); got < 100 {
		t.Errorf("%d files, want the 100 that nobody touched", got)
	}
	noTemp(t, p.near, p.far)
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
