package transfer

import (
	"testing"

	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// FuzzListing holds that whatever list the far side sends is refused or can be
// planned with: no panic, and no step here at a path that leads elsewhere or
// whose folder will not be there.
func FuzzListing(f *testing.F) {
	base := []tree.Node{
		{Entry: tree.Entry{Path: "a", Kind: tree.Dir, Mode: 0o755}},
		{Entry: tree.Entry{Path: "a/b", Kind: tree.File, Mode: 0o644, Size: 1, Digest: tree.Digest{1}}},
		{Entry: tree.Entry{Path: "c", Kind: tree.Link, Target: "a"}},
	}
	for _, recs := range [][]pack.Record{
		{{Kind: pack.Forget, Path: "a"}, {Kind: pack.Forget, Path: "a/b"}},
		{{Kind: pack.Have, Entry: tree.Entry{Path: "a/x", Kind: tree.File, Mode: 0o600}}, {Kind: pack.Have, Entry: tree.Entry{Path: "c", Kind: tree.Dir, Mode: 0o700}}},
		{{Kind: pack.Have, Entry: tree.Entry{Path: "a", Kind: tree.Special}}, {Kind: pack.Forget, Path: "a/b"}},
	} {
		l := &pack.Lister{Send: func(b pack.Block) error { f.Add(b.Bytes); return nil }}
		for i := range recs {
			if err := l.Put(&recs[i]); err != nil {
				f.Fatal(err)
			}
		}
		if err := l.Flush(); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newListing()
		r := pack.NewReader(in)
		for r.More() {
			rec, err := r.Next()
			if err != nil || l.take(rec) != nil {
				return
			}
		}
		far, _, err := l.over(base)
		if err != nil {
			return
		}
		near := entries(base)
		p := plan.Merge(near, plan.Side{Entries: near}, plan.Side{Entries: far, Unknown: l.closed, Holds: l.holds}, plan.Options{})
		has := map[string]tree.Kind{}
		for _, e := range near {
			has[e.Path] = e.Kind
		}
		for _, s := range p.Near {
			path := s.Entry.Path
			if err := tree.CheckPath(path); err != nil {
				t.Fatal(err)
			}
			if dir := tree.Parent(path); dir != "" && has[dir] != tree.Dir {
				t.Fatalf("%v %q in what is a %v", s.Op, path, has[dir])
			}
			delete(has, path)
			if s.Op != plan.Delete {
				has[path] = s.Entry.Kind
			}
		}
	})
}
