package transfer_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/transfer"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// pair is two folders with their state, and what connects them.
type pair struct {
	t                   testing.TB
	near, far           string
	nearState, farState string
	exclude             []string
	believe             bool // whatever is missing was deleted
	takeGit, takeSetID  bool
	prefer              plan.Prefer
	progress            func(transfer.Progress)
	turn                func(context.Context, int64) error
	silence             time.Duration // of the far side, that ends a session; 0: none
}

func newPair(t testing.TB) *pair {
	t.Helper()
	dir := t.TempDir()
	p := &pair{t: t, near: filepath.Join(dir, "near"), far: filepath.Join(dir, "far"), nearState: filepath.Join(dir, "near.state"), farState: filepath.Join(dir, "far.state")}
	for _, d := range []string{p.near, p.far} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// session runs use in one session over an in-memory connection, which wrap may
// disturb, and waits until the far side has ended.
func (p *pair) session(wrap func(net.Conn) net.Conn, use func(context.Context, *transfer.Session) error) error {
	p.t.Helper()
	a, b := net.Pipe()
	if wrap != nil {
		a = wrap(a)
	}
	near, far := wire.NewConn(a), wire.NewConn(b)
	near.LimitSilence(p.silence, "mini")
	defer near.Close()
	defer far.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		err := transfer.Serve(ctx, far, transfer.ServeConfig{Root: p.far, StateDir: p.farState, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			far.Close() // as the process of the far side ends
		}
		served <- err
	}()
	s, err := transfer.Open(ctx, near, transfer.ClientConfig{Root: p.near, StateDir: p.nearState, Exclude: p.exclude,
		TakeGit: p.takeGit, TakeSetID: p.takeSetID, TempTag: "t", Progress: p.progress, Turn: p.turn,
		AllowHere: p.believe, AllowThere: p.believe, Prefer: p.prefer})
	if err != nil {
		p.t.Fatal(err)
	}
	uerr := use(ctx, s)
	cerr := s.Close()
	if cerr != nil || uerr != nil {
		near.Close()
	}
	serr := <-served
	if serr != nil {
		p.t.Logf("the far side ended with %v", serr)
	}
	if wrap == nil && uerr == nil && (serr != nil || cerr != nil) {
		p.t.Errorf("far side ended with %v, close with %v", serr, cerr)
	}
	return uerr
}

func (p *pair) up() (transfer.Report, error) {
	var rep transfer.Report
	err := p.session(nil, func(ctx context.Context, s *transfer.Session) (err error) {
		rep, err = s.Up(ctx)
		return err
	})
	return rep, err
}

func (p *pair) back() (transfer.Report, error) {
	var rep transfer.Report
	err := p.session(nil, func(ctx context.Context, s *transfer.Session) (err error) {
		rep, err = s.Back(ctx)
		return err
	})
	return rep, err
}

func (p *pair) mustUp() transfer.Report {
	p.t.Helper()
	rep, err := p.up()
	if err != nil {
		p.t.Fatalf("up: %v", err)
	}
	return rep
}

func (p *pair) mustBack() transfer.Report {
	p.t.Helper()
	rep, err := p.back()
	if err != nil {
		p.t.Fatalf("back: %v", err)
	}
	return rep
}

// snapshot reads a whole tree the plain way: one line per path.
func snapshot(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		switch {
		case fi.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			out[rel] = "link " + target
		case fi.IsDir():
			out[rel] = fmt.Sprintf("dir %o", fi.Mode().Perm())
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out[rel] = fmt.Sprintf("file %o %d %d %x", fi.Mode().Perm(), fi.Size(), fi.ModTime().UnixNano(), sha256.Sum256(b))
		default:
			out[rel] = "special"
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// run changes the far side as a command does that an agent runs there.
func (p *pair) run(command func()) {
	p.t.Helper()
	for _, step := range []func() error{
		func() error { return baseline.RunBegan(p.farState, p.far) },
		func() error { command(); return nil },
		func() error { return baseline.RunEnded(p.farState, p.far) },
	} {
		if err := step(); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *pair) wantEqual() {
	p.t.Helper()
	if diff := cmp.Diff(snapshot(p.t, p.near), snapshot(p.t, p.far)); diff != "" {
		p.t.Errorf("the sides differ (-near +far):\n%s", diff)
	}
}

// write makes files, folders ("name/") and links ("name -> target") with
// content.
func write(t testing.TB, root string, files map[string]string) {
	t.Helper()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		path, target, isLink := strings.Cut(name, " -> ")
		full := filepath.Join(root, path)
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, full)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(full, 0o755)
		default:
			if err = os.MkdirAll(filepath.Dir(full), 0o755); err == nil {
				err = os.WriteFile(full, []byte(files[name]), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// noTemp fails the test if a temporary file is left below the roots.
func noTemp(t testing.TB, roots ...string) {
	t.Helper()
	for _, root := range roots {
		for path := range snapshot(t, root) {
			if tree.IsTemp(filepath.Base(path)) {
				t.Errorf("%s: left behind: %s", root, path)
			}
		}
	}
}

// noGoroutines fails the test if goroutines of a sync are still running at its end.
func noGoroutines(t testing.TB) {
	t.Cleanup(func() {
		deadline := time.Now().Add(10 * time.Second)
		for {
			buf := make([]byte, 1<<20)
			stacks := string(buf[:runtime.Stack(buf, true)])
			n := 0
			for s := range strings.SplitSeq(stacks, "\n\n") {
				if strings.Contains(s, "internal/worksync/") && !strings.Contains(s, "transfer_test.") {
					n++
				}
			}
			if n == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("%d goroutines left:\n%s", n, stacks)
				return
			}
			runtime.Gosched()
		}
	})
}
