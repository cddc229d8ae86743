package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Here the far side is real, and the near side sends what it should not.

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
