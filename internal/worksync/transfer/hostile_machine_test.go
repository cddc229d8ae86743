package transfer

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Here the near side is real, and the far side answers what it should not.

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
