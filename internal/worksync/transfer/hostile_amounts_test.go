package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Here a machine sends more than it announced, or than fits.

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
