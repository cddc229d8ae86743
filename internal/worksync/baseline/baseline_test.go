package baseline_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

func generation(path string) baseline.Generation {
	return baseline.Generation{ID: baseline.NewID(), Nodes: []tree.Node{
		{Entry: tree.Entry{Path: path, Kind: tree.Dir, Mode: 0o750}, Stamp: tree.Stamp{Mode: 0o750}},
		{Entry: tree.Entry{Path: path + "/\xff", Kind: tree.File, Mode: 0o644, Size: 3, MTime: -1, Digest: tree.Digest{1}}, Stamp: tree.Stamp{Size: 3, MTime: -100, CTime: 7, Inode: 9, Mode: 0o600, Racy: true}},
		{Entry: tree.Entry{Path: path + "/l", Kind: tree.Link, Target: "../x"}, Stamp: tree.Stamp{Absent: true}},
	}}
}

func open(t *testing.T) (*baseline.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	s, err := baseline.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func load(t *testing.T, s *baseline.Store) baseline.State {
	t.Helper()
	st, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestCommittedGenerationsComeBackWhole(t *testing.T) {
	s, _ := open(t)
	if st := load(t, s); st.Committed || len(st.Generations) != 0 {
		t.Errorf("a fresh store holds %+v", st)
	}
	a, b := generation("a"), generation("b")
	commit(t, s, a, baseline.ID{})
	commit(t, s, b, a.ID)
	want := baseline.State{Generations: []baseline.Generation{b, a}, Committed: true}
	if diff := cmp.Diff(want, load(t, s)); diff != "" {
		t.Errorf("store (-want +got):\n%s", diff)
	}
}

// The far side may commit again and again before the near side hears of it;
// what the near side still has must stay.
func TestGenerationInUseStays(t *testing.T) {
	s, _ := open(t)
	used := generation("used")
	commit(t, s, used, baseline.ID{})
	for range 3 {
		unheard := generation("unheard")
		commit(t, s, unheard, used.ID)
		st := load(t, s)
		if _, ok := st.Find(used.ID); !ok {
			t.Fatal("the generation in use is gone")
		}
		if _, ok := st.Find(unheard.ID); !ok {
			t.Fatal("the new generation is not there")
		}
	}
}

func TestDamagedStoreIsNotAFreshOne(t *testing.T) {
	s, dir := open(t)
	commit(t, s, generation("a"), baseline.ID{})
	path := filepath.Join(dir, "baseline")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 10, len(b) - 1} {
		if err := os.WriteFile(path, b[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if st := load(t, s); !st.Committed || len(st.Generations) != 0 {
			t.Errorf("cut after %d of %d bytes: store holds %+v", n, len(b), st)
		}
	}
}

func TestRefreshKeepsTheOtherGeneration(t *testing.T) {
	s, _ := open(t)
	a, b := generation("a"), generation("b")
	commit(t, s, a, baseline.ID{})
	commit(t, s, b, a.ID)
	b.Nodes[0].Stamp.Mode = 0o700
	if err := s.Refresh(b); err != nil {
		t.Fatal(err)
	}
	want := []baseline.Generation{b, a}
	if diff := cmp.Diff(want, load(t, s).Generations); diff != "" {
		t.Errorf("store (-want +got):\n%s", diff)
	}
}

func commit(t *testing.T, s *baseline.Store, g baseline.Generation, used baseline.ID) {
	t.Helper()
	if err := s.Commit(g, used); err != nil {
		t.Fatal(err)
	}
}
