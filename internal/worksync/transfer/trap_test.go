package transfer

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// trap is a root with a link out of it, and a place outside that must stay as
// it is.
type trap struct {
	t                    *testing.T
	root, outside, state string
	mutate               func([]pack.Record) []pack.Record // what a hostile machine makes of its answers
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	dir := t.TempDir()
	tr := &trap{
		t: t, root: filepath.Join(dir, "root"), outside: filepath.Join(dir, "outside"), state: filepath.Join(dir, "state"),
		mutate: func(recs []pack.Record) []pack.Record { return recs },
	}
	for _, err := range []error{
		os.Mkdir(tr.root, 0o755),
		os.Mkdir(tr.outside, 0o755),
		os.WriteFile(filepath.Join(tr.outside, "victim"), []byte("precious"), 0o644),
		os.Symlink("../outside", filepath.Join(tr.root, "link")),
		os.Mkdir(filepath.Join(tr.root, "dir"), 0o755),
		os.WriteFile(filepath.Join(tr.root, "dir", "file"), []byte("x"), 0o644),
		os.Symlink("dir", filepath.Join(tr.root, "inside")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(tr.check)
	return tr
}

func (tr *trap) check() {
	tr.t.Helper()
	b, err := os.ReadFile(filepath.Join(tr.outside, "victim"))
	fi, serr := os.Stat(filepath.Join(tr.outside, "victim"))
	if err != nil || string(b) != "precious" || serr != nil || fi.Mode().Perm() != 0o644 {
		tr.t.Errorf("the victim is %q, %v, %v", b, err, fi)
	}
	names, err := os.ReadDir(filepath.Dir(tr.root))
	if err != nil || len(names) > 3 {
		tr.t.Errorf("beside the root: %v, %v", names, err)
	}
	if names, err = os.ReadDir(tr.outside); err != nil || len(names) != 1 {
		tr.t.Errorf("outside: %v, %v", names, err)
	}
	if names, err = os.ReadDir(filepath.Join(tr.root, "dir")); err == nil && len(names) > 1 {
		tr.t.Errorf("through the link inside: %v", names)
	}
}

// serve starts a real far side and returns the hostile end, whose state and
// list have been read, and what waits for the far side to end.
func (tr *trap) serve(b begin) (l *link, wait func()) {
	tr.t.Helper()
	near, far := net.Pipe()
	served := make(chan error, 1)
	conn := wire.NewConn(far)
	go func() {
		err := Serve(context.Background(), conn, ServeConfig{Root: tr.root, StateDir: tr.state})
		far.Close()
		served <- err
	}()
	wait = sync.OnceFunc(func() {
		near.Close()
		<-served
	})
	tr.t.Cleanup(wait)
	l = &link{conn: wire.NewConn(near)}
	if err := l.send(typeBegin, b); err != nil {
		tr.t.Fatal(err)
	}
	var st state
	if err := l.recvAs(typeState, "state", &st); err != nil {
		tr.t.Fatal(err)
	}
	if st.Fault == nil {
		if _, failed, err := l.recvStream(context.Background(), nil, func(pack.Record) error { return nil }, func(err error) error { return err }); failed != nil || err != nil {
			tr.t.Fatal(failed, err)
		}
	}
	return l, wait
}

func digestOf(s string) tree.Digest {
	return blake3.Sum256([]byte(s))
}

func file(path, content string) pack.Record {
	return pack.Record{Kind: pack.Write, Settles: true, Entry: tree.Entry{Path: path, Kind: tree.File, Mode: 0o644, Size: int64(len(content)), Digest: digestOf(content)}, Content: []byte(content)}
}

type duplex struct {
	io.Reader
	io.Writer
}

func (duplex) Close() error { return nil }

// hostile answers Back as a machine that lists, and gives, whatever it wants.
func (tr *trap) hostile(cfg ClientConfig, list []pack.Record, content map[string]string) (Report, error) {
	tr.t.Helper()
	near, far := net.Pipe()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		l := &link{conn: wire.NewConn(far)}
		if _, err := l.recv(); err != nil || l.send(typeState, state{}) != nil || l.putAll(list) != nil {
			return // the near side reports what is wrong
		}
		for {
			f, err := l.recv()
			if err != nil {
				return
			}
			var q ask
			switch {
			case f.Type == typeEnd:
				err = l.send(typeResult, result{})
			case f.Type == typeAsk && f.Decode(&q) == nil:
				var recs []pack.Record
				for _, p := range q.Places {
					r := file(list[p].Entry.Path, content[list[p].Entry.Path])
					if !q.Contents {
						r.Kind = pack.Have
					}
					recs = append(recs, r)
				}
				err = l.putAll(tr.mutate(recs))
			}
			if err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cfg.Root, cfg.StateDir, cfg.TempTag = tr.root, tr.state, "t"
	s, err := Open(ctx, wire.NewConn(near), cfg)
	if err != nil {
		tr.t.Fatal(err)
	}
	rep, err := s.Back(ctx)
	near.Close()
	<-answered
	s.over = true
	if err := s.Close(); err != nil {
		tr.t.Error(err)
	}
	return rep, err
}

func (l *link) putAll(recs []pack.Record) error {
	return l.sendList(func(to *pack.Lister) error {
		for i := range recs {
			if err := to.Put(&recs[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Where the folder is one of several in a lease's, none above it may be a link either; what is above the lease may.
func TestNothingOnTheWayToTheFolderIsALink(t *testing.T) {
	tr := newTrap(t)
	above := filepath.Dir(tr.root)
	for rel, linked := range map[string]bool{"root": false, "root/dir": false, "root/inside": true, "root/link": true, "root/dir/file": true} {
		cfg := ServeConfig{Root: filepath.Join(above, filepath.FromSlash(rel)), Within: above}
		if err := cfg.unlinked(); (err != nil) != linked {
			t.Errorf("%s: %v, want an error: %v", rel, err, linked)
		}
	}
	below := filepath.Join(tr.root, "dir", "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(below) }) // before the trap is looked at
	for within, linked := range map[string]bool{above: true, filepath.Join(tr.root, "inside"): false, "": false} {
		cfg := ServeConfig{Root: filepath.Join(tr.root, "inside", "below"), Within: within}
		if err := cfg.unlinked(); (err != nil) != linked {
			t.Errorf("within %q: %v, want an error: %v", within, err, linked)
		}
	}
}
