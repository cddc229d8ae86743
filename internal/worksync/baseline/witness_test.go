package baseline_test

import (
	"os"
	"path/filepath"
	"testing"

	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// TestWitness holds that a loss is believed exactly if a run began with the
// folder as it was, and left it as it is now.
func TestWitness(t *testing.T) {
	began := func(t *testing.T, dir, root string) {
		if err := baseline.RunBegan(dir, root); err != nil {
			t.Error(err)
		}
	}
	ended := func(t *testing.T, dir, root string) {
		if err := baseline.RunEnded(dir, root); err != nil {
			t.Error(err)
		}
	}
	empty := func(t *testing.T, _, root string) {
		names, err := os.ReadDir(root)
		if err != nil {
			t.Error(err)
		}
		for _, n := range names {
			if err := os.Remove(filepath.Join(root, n.Name())); err != nil {
				t.Error(err)
			}
		}
	}
	type step = func(t *testing.T, dir, root string)
	for _, tt := range []struct {
		name  string
		steps []step
		want  bool
	}{
		{"no run", nil, false},
		{"a run", []step{began, ended}, true},
		{"a run whose end nobody saw", []step{began}, true},
		{"emptied before it", []step{empty, began, ended}, false},
		{"emptied by it", []step{began, empty, ended}, true},
		{"emptied after it", []step{began, ended, empty}, false},
		{"emptied by the first of two", []step{began, empty, ended, began, ended}, true},
		{"emptied while a second one goes on", []step{began, began, ended, empty, ended}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, root := t.TempDir(), t.TempDir()
			g := baseline.Generation{ID: baseline.NewID()}
			for _, name := range []string{"a", "b", "c\xff"} {
				if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				g.Nodes = append(g.Nodes, tree.Node{Entry: tree.Entry{Path: name, Kind: tree.File}})
			}
			s, err := baseline.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Settled(g); err != nil {
				t.Fatal(err)
			}
			for _, do := range tt.steps {
				do(t, dir, root)
			}
			got, err := s.Believed(root, g.ID)
			if err != nil || got != tt.want {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
			if got, err := s.Believed(root, baseline.NewID()); err != nil || got {
				t.Errorf("of another generation: %v, %v", got, err)
			}
		})
	}
}
