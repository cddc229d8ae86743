package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// The far side is real in the first half of this file and the near side sends
// what it should not; in the second half it is the other way round.

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

func TestFarSideWritesNowhereElse(t *testing.T) {
	dir := func(path string) pack.Record {
		return pack.Record{Kind: pack.Make, Entry: tree.Entry{Path: path, Kind: tree.Dir, Mode: 0o755}}
	}
	linkTo := func(path, target string) pack.Record {
		return pack.Record{Kind: pack.Make, Entry: tree.Entry{Path: path, Kind: tree.Link, Target: target}}
	}
	for _, tt := range []struct {
		name    string
		records []pack.Record
	}{
		{"up and out", []pack.Record{file("../evil", "x")}},
		{"up and out from below", []pack.Record{file("dir/../../evil", "x")}},
		{"absolute", []pack.Record{file("/tmp/evil", "x")}},
		{"no name", []pack.Record{file("", "x")}},
		{"empty component", []pack.Record{file("dir//x", "x")}},
		{"a zero byte", []pack.Record{file("a\x00b", "x")}},
		{"one of our temporary files", []pack.Record{file(".outrigger-tmp-far-1", "x")}},
		{"through a link out", []pack.Record{file("link/evil", "x")}},
		{"over the victim", []pack.Record{file("link/victim", "x")}},
		{"through a link inside", []pack.Record{file("inside/evil", "x")}},
		{"a folder through a link", []pack.Record{dir("link/evil")}},
		{"a link through a link", []pack.Record{linkTo("link/evil", "x")}},
		{"a link made for the purpose", []pack.Record{linkTo("new", "../outside"), file("new/evil", "x")}},
		{"a large file through a link", []pack.Record{{Kind: pack.Begin, Entry: file("link/evil", "").Entry}, {Kind: pack.Piece, Content: []byte("x")}}},
		{"delete through a link", []pack.Record{{Kind: pack.Delete, Path: "link/victim"}}},
		{"mode through a link", []pack.Record{{Kind: pack.Meta, Entry: tree.Entry{Path: "link/victim", Kind: tree.File, Mode: 0o777, Size: 8}}}},
		{"mode of what a link points to", []pack.Record{{Kind: pack.Meta, Entry: tree.Entry{Path: "link", Kind: tree.Dir, Mode: 0o777}}}},
		{"a file in a file", []pack.Record{file("dir/file/x", "x")}},
		{"wrong digest", []pack.Record{func() pack.Record { r := file("a", "x"); r.Entry.Digest[0]++; return r }()}},
		{"wrong size", []pack.Record{func() pack.Record { r := file("a", "x"); r.Entry.Size = 1 << 40; return r }()}},
		{"twice the same file", []pack.Record{file("a", "x"), file("a", "y")}},
		{"a piece of nothing", []pack.Record{{Kind: pack.Piece, Content: []byte("x")}}},
		{"two files at once", []pack.Record{{Kind: pack.Begin, Entry: file("a", "").Entry}, {Kind: pack.Begin, Entry: file("b", "").Entry}}},
		{"no end of a file", []pack.Record{{Kind: pack.Begin, Entry: file("a", "").Entry}}},
		{"agree on what is not there", []pack.Record{{Kind: pack.Agree, Entry: file("nowhere", "x").Entry}}},
		{"a list entry", []pack.Record{{Kind: pack.Have, Entry: file("a", "x").Entry}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTrap(t)
			l, wait := tr.serve(begin{})
			id := baseline.NewID()
			answer, err := l.sendStream(context.Background(), id[:], func(err error) error { return err }, func(_ context.Context, send func(pack.Block) error) error {
				lister := &pack.Lister{Send: send}
				for i := range tt.records {
					if err := lister.Put(&tt.records[i]); err != nil {
						return err
					}
				}
				return lister.Flush()
			})
			if err == nil && len(answer.Left) == 0 {
				t.Error("accepted")
			}
			wait()
			for _, name := range []string{"a", "evil", "dir/evil"} {
				if _, err := os.Lstat(filepath.Join(tr.root, name)); err == nil && tt.name != "twice the same file" {
					t.Errorf("%s was made", name)
				}
			}
		})
	}
}

func TestFarSideRefusesNonsense(t *testing.T) {
	bomb, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		send func(*link) error
	}{
		{"a block that swells to 64 MiB", func(l *link) error { return l.sendBytes(typePacked, bomb.EncodeAll(make([]byte, 64<<20), nil)) }},
		{"a block cut short", func(l *link) error { return l.sendBytes(typeBlock, []byte{byte(pack.Write), 200}) }},
		{"places that were not listed", func(l *link) error { return l.send(typeAsk, ask{Contents: true, Places: []uint32{1 << 30}}) }},
		{"places that are no files", func(l *link) error { return l.send(typeAsk, ask{Contents: true, Places: []uint32{0}}) }},
		{"a frame of another exchange", func(l *link) error { return l.sendBytes(wire.TypeRunFirst, nil) }},
		{"CBOR that is none", func(l *link) error { return l.sendBytes(typeAsk, []byte{0xff}) }},
		{"a baseline without an ID", func(l *link) error { return l.send(typeEnd, end{Commit: []byte("x")}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTrap(t)
			l, _ := tr.serve(begin{})
			if err := tt.send(l); err != nil {
				t.Fatal(err)
			}
			var r result
			err := l.recvAs(typeResult, "a refusal", &r)
			if err == nil && r.Fault == nil {
				t.Error("accepted")
			}
			if err != nil && !errors.Is(err, io.EOF) && !fault.Is(err, fault.Unreachable) {
				t.Errorf("got %v, want the connection closed or a fault", err)
			}
		})
	}
}

// TestNearSideBelievesNothing lets a hostile far side answer Up and Back.
func TestNearSideBelievesNothing(t *testing.T) {
	have := func(path string) pack.Record {
		return pack.Record{Kind: pack.Have, Entry: tree.Entry{Path: path, Kind: tree.File, Mode: 0o644, Size: 1}}
	}
	haveDir := func(path string) pack.Record {
		return pack.Record{Kind: pack.Have, Entry: tree.Entry{Path: path, Kind: tree.Dir, Mode: 0o755}}
	}
	contents := func(recs ...pack.Record) func(*link) error {
		return func(l *link) error {
			var q ask
			if err := l.recvAs(typeAsk, "ask", &q); err != nil {
				return err
			}
			return l.sendList(func(to *pack.Lister) error {
				for i := range recs {
					if err := to.Put(&recs[i]); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	for _, tt := range []struct {
		name  string
		state state
		list  []pack.Record
		then  func(*link) error
	}{
		{"a path out", state{}, []pack.Record{have("../evil")}, nil},
		{"an absolute path", state{}, []pack.Record{have("/evil")}, nil},
		{"a file without its folder", state{}, []pack.Record{have("nodir/evil")}, nil},
		{"a file in a link", state{}, []pack.Record{{Kind: pack.Have, Entry: tree.Entry{Path: "link", Kind: tree.Link, Target: "../outside"}}, have("link/evil")}, nil},
		{"a list out of order", state{}, []pack.Record{have("b"), have("a")}, nil},
		{"the same twice", state{}, []pack.Record{have("b"), have("b")}, nil},
		{"a step in a list", state{}, []pack.Record{{Kind: pack.Delete, Path: "dir"}}, nil},
		{"a baseline that was not offered", state{Base: make([]byte, 16)}, nil, nil},
		{"content that was not asked for", state{}, []pack.Record{have("a")}, contents(file("b", "x"))},
		{"content in the wrong place", state{}, []pack.Record{have("a"), have("b")}, contents(file("b", "x"), file("a", "x"))},
		{"content twice", state{}, []pack.Record{have("a")}, contents(file("a", "x"), file("a", "x"))},
		{"content through a link", state{}, []pack.Record{haveDir("sub"), have("sub/x")}, contents(file("link/victim", "x"))},
		{"content that is missing", state{}, []pack.Record{have("a")}, contents()},
		{"a step among contents", state{}, []pack.Record{have("a")}, contents(pack.Record{Kind: pack.Delete, Path: "dir/file"}, file("a", "x"))},
		{"no digest", state{}, []pack.Record{haveDir("dir"), have("dir/file")}, contents()},
		{"another file's digest", state{}, []pack.Record{haveDir("dir"), have("dir/file")}, contents(pack.Record{Kind: pack.Have, Entry: file("other", "x").Entry})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTrap(t)
			near, far := net.Pipe()
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				l := &link{conn: wire.NewConn(far)}
				if _, err := l.recv(); err != nil {
					return // the near side reports what is wrong
				}
				if l.send(typeState, tt.state) != nil {
					return
				}
				_ = l.sendList(func(to *pack.Lister) error {
					for i := range tt.list {
						if err := to.Put(&tt.list[i]); err != nil {
							return err
						}
					}
					return nil
				})
				if tt.then != nil {
					_ = tt.then(l)
				}
				for {
					if _, err := l.recv(); err != nil {
						return
					}
				}
			}()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			s, err := Open(ctx, wire.NewConn(near), ClientConfig{Root: tr.root, StateDir: tr.state, TempTag: "t"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Back(ctx)
			if !fault.Is(err, fault.Protocol) {
				t.Errorf("got %v, want a fault of kind Protocol", err)
			}
			near.Close()
			<-answered
			s.over = true
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(filepath.Join(tr.root, "dir", "file")); err != nil {
				t.Error(err)
			}
		})
	}
}

// FuzzServe holds that no bytes make the far side panic or touch what is
// outside of its root.
func FuzzServe(f *testing.F) {
	var good bytes.Buffer
	l := &link{conn: wire.NewConn(duplex{nil, &good})}
	id := baseline.NewID()
	for _, err := range []error{
		l.send(typeBegin, begin{Patterns: []string{"*.o"}}),
		l.sendList(func(to *pack.Lister) error { r := file("new", "x"); return to.Put(&r) }),
		l.send(typeBegin, begin{}),
		l.send(typeAsk, ask{Contents: true, Places: []uint32{1}}),
		l.send(typeEnd, end{Commit: id[:]}),
		l.sendBytes(typeBye, nil),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add(good.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		tr := newTrap(t)
		conn := wire.NewConn(duplex{bytes.NewReader(in), io.Discard})
		_ = Serve(t.Context(), conn, ServeConfig{Root: tr.root, StateDir: tr.state}) // any error will do
	})
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

// TestExcludesHoldAgainstTheMachine lets a machine list what it was told to
// leave out, as an agent that was replaced may do.
func TestExcludesHoldAgainstTheMachine(t *testing.T) {
	haveDir := func(path string) pack.Record {
		return pack.Record{Kind: pack.Have, Entry: tree.Entry{Path: path, Kind: tree.Dir, Mode: 0o755}}
	}
	have := func(path string) pack.Record {
		r := file(path, "evil")
		r.Kind, r.Content = pack.Have, nil
		return r
	}
	for _, tt := range []struct {
		name    string
		exclude []string
		list    []pack.Record
		want    []string // of the names in the root, beside those of the trap
	}{
		{"by name", []string{"*.pem"}, []pack.Record{have("a"), have("evil.pem")}, []string{"a"}},
		{"a whole folder", []string{"/secrets", "node_modules"}, []pack.Record{haveDir("node_modules"), haveDir("node_modules/.bin"), have("node_modules/.bin/x"), haveDir("secrets"), have("secrets/x")}, nil},
		{"in a folder that comes", []string{"x"}, []pack.Record{haveDir("new"), have("new/x"), have("new/y")}, []string{"new"}},
		{"beside the mounts of a Pod", []string{"/*", "/m/*", "!/m", "!/m/mount"}, []pack.Record{haveDir("m"), have("m/beside"), haveDir("m/mount"), have("m/mount/x"), have("top")}, []string{"m"}},
		{"a link", []string{"current"}, []pack.Record{{Kind: pack.Have, Entry: tree.Entry{Path: "current", Kind: tree.Link, Target: "../outside"}}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTrap(t)
			content := map[string]string{}
			for _, r := range tt.list {
				content[r.Entry.Path] = "evil"
			}
			rep, err := tr.hostile(ClientConfig{Exclude: tt.exclude}, tt.list, content)
			if err != nil || len(rep.Warnings) != 1 {
				t.Errorf("got %v, warnings %q", err, rep.Warnings)
			}
			names, err := os.ReadDir(tr.root)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, n := range names {
				if n.Name() != "dir" && n.Name() != "link" && n.Name() != "inside" {
					got = append(got, n.Name())
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("in the root: %q, want %q", got, tt.want)
			}
			for _, path := range []string{"m/beside", "new/x"} {
				if _, err := os.Lstat(filepath.Join(tr.root, path)); err == nil {
					t.Errorf("%s was made", path)
				}
			}
		})
	}
}

// TestNearSideWritesNoMoreThanAnnounced lets a machine send pieces without end
// of a file that it announced with one byte.
func TestNearSideWritesNoMoreThanAnnounced(t *testing.T) {
	for _, begin := range []int64{1, 0, -1 << 62, 1 << 40} {
		announced(t, begin)
	}
}

// announced lists a file with one byte, begins it with another size and sends
// pieces.
func announced(t *testing.T, size int64) {
	tr := newTrap(t)
	near, far := net.Pipe()
	answered := make(chan struct{})
	have := file("a", "x")
	have.Kind, have.Content = pack.Have, nil
	go func() {
		defer close(answered)
		l := &link{conn: wire.NewConn(far)}
		var q ask
		if _, err := l.recv(); err != nil || l.send(typeState, state{}) != nil || l.putAll([]pack.Record{have}) != nil || l.recvAs(typeAsk, "ask", &q) != nil {
			return
		}
		go func() {
			for {
				if _, err := l.recv(); err != nil {
					return
				}
			}
		}()
		recs := []pack.Record{{Kind: pack.Begin, Entry: have.Entry}}
		recs[0].Entry.Size = size
		for range 64 {
			recs = append(recs, pack.Record{Kind: pack.Piece, Content: make([]byte, 64<<10)})
		}
		_ = l.putAll(recs) // the near side reports what is wrong
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := Open(ctx, wire.NewConn(near), ClientConfig{Root: tr.root, StateDir: tr.state, TempTag: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Back(ctx); !fault.Is(err, fault.Protocol) && !fault.Is(err, fault.FileChanged) {
		t.Errorf("begun with %d: got %v, want a fault", size, err)
	}
	near.Close()
	<-answered
	s.over = true
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if names, err := os.ReadDir(tr.root); err != nil || len(names) != 3 {
		t.Errorf("in the root: %v, %v", names, err)
	}
}

// TestListsDoNotSwell holds that no list takes much more memory than the
// message that it came in, and that an honest side never sends one that would.
func TestListsDoNotSwell(t *testing.T) {
	var raw []byte
	lister := &pack.Lister{Send: func(b pack.Block) error {
		if b.Compressed && len(b.Bytes) < 4096 {
			t.Errorf("an honest list is sent as %d bytes", len(b.Bytes))
		}
		if !b.Compressed {
			raw = append(raw[:0], b.Bytes...)
		}
		return nil
	}}
	for i := range 100_000 {
		r := pack.Record{Kind: pack.Have, Entry: tree.Entry{Path: fmt.Sprintf("%08d", i), Kind: tree.Dir, Mode: 0o755}}
		if err := lister.Put(&r); err != nil {
			t.Fatal(err)
		}
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTrap(t)
	near, far := net.Pipe()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		l := &link{conn: wire.NewConn(far)}
		if _, err := l.recv(); err == nil && l.send(typeState, state{}) == nil && l.sendBytes(typePacked, enc.EncodeAll(raw, nil)) == nil {
			_ = l.send(typeEnd, end{}) // the near side may be gone already
		}
		for {
			if _, err := l.recv(); err != nil {
				return
			}
		}
	}()
	s, err := Open(t.Context(), wire.NewConn(near), ClientConfig{Root: tr.root, StateDir: tr.state, TempTag: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Back(t.Context()); !fault.Is(err, fault.Protocol) || !strings.Contains(err.Error(), "16 times") {
		t.Errorf("got %v, want a fault of kind Protocol about a list that swells", err)
	}
	near.Close()
	<-answered
	s.over = true
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestAFileThatGrewBeyondMeasureIsLeft announces a terabyte for a file that was
// listed with one byte: it does not come, and the next one does.
func TestAFileThatGrewBeyondMeasureIsLeft(t *testing.T) {
	tr := newTrap(t)
	near, far := net.Pipe()
	answered := make(chan error, 1)
	grown, next := file("a", "x"), file("b", "y")
	lists := [][]pack.Record{{{Kind: pack.Have, Entry: grown.Entry}, {Kind: pack.Have, Entry: next.Entry}}}
	grown.Entry.Size = 1 << 40
	lists = append(lists, []pack.Record{
		{Kind: pack.Begin, Entry: grown.Entry}, {Kind: pack.Piece, Content: []byte("xx")}, {Kind: pack.Drop},
		{Kind: pack.Begin, Entry: grown.Entry}, {Kind: pack.Piece, Content: []byte("xx")}, {Kind: pack.End, Entry: grown.Entry}, next,
	})
	go func() {
		l := &link{conn: wire.NewConn(far)}
		var q ask
		_, err := l.recv()
		err = errors.Join(err, l.send(typeState, state{}), l.putAll(lists[0]), l.recvAs(typeAsk, "ask", &q), l.putAll(lists[1]))
		for ended := false; err == nil && !ended; {
			var f wire.Frame
			f, err = l.recv()
			ended = f.Type == typeEnd
		}
		answered <- errors.Join(err, l.send(typeResult, result{}))
	}()
	s, err := Open(t.Context(), wire.NewConn(near), ClientConfig{Root: tr.root, StateDir: tr.state, TempTag: "t"})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := s.Back(t.Context())
	if !fault.Is(err, fault.PathsLeft) || len(rep.Left) != 1 || rep.Left[0].Path != "a" {
		t.Errorf("got %v, left %v", err, rep.Left)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	near.Close()
	s.over = true
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(tr.root, "b")); err != nil || string(b) != "y" {
		t.Errorf("b: %q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(tr.root, "a")); err == nil {
		t.Error("a came")
	}
}
