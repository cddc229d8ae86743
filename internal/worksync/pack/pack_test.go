package pack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fixture makes files around the sizes at which packing changes its ways.
func fixture(t testing.TB) (*tree.Folder, []tree.Node, map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 1))
	content := map[string][]byte{}
	for i, size := range []int{0, 1, 100, 128 << 10, 128<<10 + 1, pack.BlockSize - 10_000, pack.BlockSize, pack.BlockSize + 1, 3*pack.BlockSize + 5, 7, 100 << 10, 100 << 10, 100 << 10, 100 << 10, 100 << 10} {
		b := make([]byte, size)
		if i%2 == 0 { // every other one does not compress
			for j := range b {
				b[j] = byte(r.Uint32())
			}
		}
		name := fmt.Sprintf("f%02d", i)
		content[name] = b
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
	}
	root, err := tree.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	nodes, err := tree.Scanner{}.All(context.Background(), root)
	must(t, err)
	return root, nodes, content
}

func items(nodes []tree.Node) func(context.Context) (pack.Item, bool, error) {
	return func(context.Context) (pack.Item, bool, error) {
		if len(nodes) == 0 {
			return pack.Item{}, false, nil
		}
		n := nodes[0]
		nodes = nodes[1:]
		return pack.Item{Kind: pack.Write, Node: n}, true, nil
	}
}

func TestFilesComeOutAsTheyWentIn(t *testing.T) {
	for _, slow := range []bool{false, true} {
		t.Run(fmt.Sprintf("slow link %v", slow), func(t *testing.T) {
			root, nodes, want := fixture(t)
			gauge := &pack.Gauge{}
			if slow { // as if a megabyte had taken a second
				gauge.Sent(1<<20, time.Second)
			}
			opener, err := pack.NewOpener()
			must(t, err)
			defer opener.Close()
			got := map[string][]byte{}
			var order []string
			var read []string
			p := pack.Packer{Root: root, Readers: 3, Gauge: gauge, Read: func(it pack.Item) { read = append(read, it.Node.Path) }}
			must(t, p.Pack(t.Context(), items(nodes), func(b pack.Block) error {
				raw := bytes.Clone(b.Bytes)
				if len(raw) > pack.BlockSize {
					t.Errorf("block of %d bytes", len(raw))
				}
				if b.Compressed {
					if raw, err = opener.Open(raw); err != nil {
						return err
					}
				}
				r := pack.NewReader(raw)
				for r.More() {
					rec, err := r.Next()
					if err != nil {
						return err
					}
					switch rec.Kind {
					case pack.Write, pack.Begin:
						order = append(order, rec.Path)
						got[rec.Path] = bytes.Clone(rec.Content)
					case pack.Piece:
						last := order[len(order)-1]
						got[last] = append(got[last], rec.Content...)
					}
				}
				return nil
			}))
			if len(got) != len(want) {
				t.Errorf("%d files, want %d", len(got), len(want))
			}
			var paths []string
			for _, n := range nodes {
				paths = append(paths, n.Path)
				if !bytes.Equal(got[n.Path], want[n.Path]) {
					t.Errorf("%s: %d bytes came out of %d", n.Path, len(got[n.Path]), len(want[n.Path]))
				}
			}
			if diff := cmp.Diff([][]string{paths, paths}, [][]string{order, read}); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorOfTheReceiverEndsPacking(t *testing.T) {
	root, nodes, _ := fixture(t)
	stop := errors.New("stop")
	p := pack.Packer{Root: root, Readers: 2, Gauge: &pack.Gauge{}, Read: func(pack.Item) {}}
	n := 0
	err := p.Pack(t.Context(), items(nodes), func(pack.Block) error {
		if n++; n == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// TestFilesThatCannotBeReadAreSkipped takes a small and a large file away, and
// puts a folder in the place of a third: each is told, and the others come.
func TestFilesThatCannotBeReadAreSkipped(t *testing.T) {
	root, nodes, _ := fixture(t)
	for _, name := range []string{"f07", "f08", "f02"} {
		must(t, root.Remove(name))
	}
	must(t, root.Mkdir("f02", 0o755))
	var failed []string
	read := 0
	p := pack.Packer{Root: root, Readers: 2, Gauge: &pack.Gauge{}, Read: func(it pack.Item) {
		if read++; it.Err != nil {
			failed = append(failed, it.Node.Path)
		}
	}}
	opener, err := pack.NewOpener()
	must(t, err)
	defer opener.Close()
	var skipped []string
	must(t, p.Pack(t.Context(), items(nodes), func(b pack.Block) error {
		raw := b.Bytes
		if b.Compressed {
			if raw, err = opener.Open(raw); err != nil {
				return err
			}
		}
		for r := pack.NewReader(raw); r.More(); {
			rec, err := r.Next()
			if err != nil {
				return err
			}
			if rec.Kind == pack.Skip {
				skipped = append(skipped, rec.Path+rec.Why)
			}
		}
		return nil
	}))
	want := []string{"f02", "f07", "f08"}
	if diff := cmp.Diff([][]string{want, want}, [][]string{failed, skipped}); diff != "" || read != len(nodes) {
		t.Errorf("(-want +got):\n%s\n%d files were told of, want %d", diff, read, len(nodes))
	}
}

func TestGrownAndShrunkFilesAreReadAsTheyAre(t *testing.T) {
	root, nodes, _ := fixture(t)
	now := map[string]int{"f01": 300 << 10, "f08": 3, "f02": 50}
	for name, size := range now {
		must(t, root.WriteFile(name, make([]byte, size), 0o644))
	}
	p := pack.Packer{Root: root, Readers: 2, Gauge: &pack.Gauge{}, Read: func(it pack.Item) {
		if size, ok := now[it.Node.Path]; ok && it.Node.Size != int64(size) {
			t.Errorf("%s: %d bytes, want %d", it.Node.Path, it.Node.Size, size)
		}
	}}
	must(t, p.Pack(t.Context(), items(nodes), func(pack.Block) error { return nil }))
}

// FuzzReader holds that no block makes the reader panic or hand out content
// that is larger than the block.
func FuzzReader(f *testing.F) {
	l := &pack.Lister{Send: func(b pack.Block) error {
		f.Add(b.Bytes, b.Compressed)
		return nil
	}}
	e := tree.Entry{Path: "a/b", Kind: tree.File, Mode: 0o644, Size: 2, Digest: tree.Digest{1}}
	for _, r := range []pack.Record{
		{Kind: pack.Delete, Path: "x", Settles: true},
		{Kind: pack.Make, Entry: tree.Entry{Path: "a", Kind: tree.Dir, Mode: 0o755}},
		{Kind: pack.Write, Entry: e, Content: []byte("hi")},
		{Kind: pack.Begin, Entry: e}, {Kind: pack.Piece, Content: []byte("h")}, {Kind: pack.Drop}, {Kind: pack.End, Entry: e},
		{Kind: pack.Meta, Entry: e}, {Kind: pack.Agree, Entry: e}, {Kind: pack.Forget, Path: "y"}, {Kind: pack.Have, Entry: e},
		{Kind: pack.Closed, Entry: e, Why: "denied"}, {Kind: pack.Holds, Path: "d"}, {Kind: pack.Skip, Path: "z"}, {Kind: pack.Aside, Path: "c", Why: ".x"},
	} {
		must(f, l.Put(&r))
	}
	must(f, l.Flush())
	f.Fuzz(func(t *testing.T, in []byte, compressed bool) {
		if compressed {
			o, err := pack.NewOpener()
			must(t, err)
			defer o.Close()
			if in, err = o.Open(in); err != nil {
				return
			}
			if len(in) > pack.BlockSize {
				t.Fatalf("block of %d bytes", len(in))
			}
		}
		r := pack.NewReader(in)
		for r.More() {
			rec, err := r.Next()
			if err != nil {
				return
			}
			if len(rec.Content) > len(in) {
				t.Fatal("content larger than its block")
			}
		}
	})
}
