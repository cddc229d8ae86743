package transfer

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
	"outrigger.dev/outrigger/test/soak"
)

// TestRandomMachines syncs back from machines that list and send what was drawn from a seed: paths that
// lead out, entries that take each other's place, contents that nobody asked for. Whatever a machine
// says, nothing outside of the folder changes, and what went wrong is told as a fault.
func TestRandomMachines(t *testing.T) {
	for _, seed := range soak.Seeds(t, 100) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			tr := newTrap(t)
			before := beside(t, tr)
			for range 1 + r.IntN(3) { // a later sync meets what an earlier one has left
				list, content := randomList(r)
				tr.mutate = func(recs []pack.Record) []pack.Record { return randomAnswer(r, recs) }
				_, err := tr.hostile(ClientConfig{}, list, content)
				var f *fault.Error
				if err != nil && !errors.As(err, &f) {
					t.Errorf("no fault: %v", err)
				}
				if after := beside(t, tr); !slices.Equal(before, after) {
					t.Fatalf("beside the folder:\n%s\nwas:\n%s\nlist: %+v", strings.Join(after, "\n"), strings.Join(before, "\n"), list)
				}
			}
		})
	}
}

// beside describes all that lies outside of the folder, but for the client's own state.
func beside(t *testing.T, tr *trap) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(filepath.Dir(tr.root), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == tr.root || path == tr.state {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := path + " " + info.Mode().String()
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + string(b)
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// hostileNames are components that a file system, a shell or a careless join takes for something else.
var hostileNames = []string{
	"a", "b", "link", "inside", "..", ".", "", "victim", "../outside", "link/victim", "inside/new", "/etc/passwd", "a\x00b", `..\outside`,
	`C:\x`, "C:", "NUL", "\xff", "a/../../outside/victim", "~", "-rf", strings.Repeat("n", 300), ".outriggerignore", ".git", "\u202e",
}

var targets = []string{"../outside", "..", "/", ".", "a", "inside", "link", "../outside/victim", "\xff", "", strings.Repeat("../", 40) + "etc"}

// randomList is what a machine may claim to have, mostly in walk order: else it is refused at once.
func randomList(r *rand.Rand) ([]pack.Record, map[string]string) {
	content := map[string]string{}
	var list []pack.Record
	for range 1 + r.IntN(8) {
		parts := make([]string, 1+r.IntN(3))
		for i := range parts {
			// Plain names half of the time, so that many lists pass the first look.
			parts[i] = hostileNames[r.IntN(len(hostileNames)/(1+3*r.IntN(2)))]
		}
		e := tree.Entry{Path: strings.Join(parts, "/"), Kind: tree.Kind(1 + r.IntN(4)), Mode: r.Uint32N(0o10000), MTime: r.Int64()}
		switch e.Kind {
		case tree.File:
			body := strings.Repeat("evil ", r.IntN(100))
			content[e.Path] = body
			e.Size, e.Digest = int64(len(body)), digestOf(body)
			switch r.IntN(8) {
			case 0:
				e.Size = []int64{-1, 0, 1, 1 << 40, -1 << 63}[r.IntN(5)]
			case 1:
				e.Digest = tree.Digest{}
			}
		case tree.Link:
			e.Target = targets[r.IntN(len(targets))]
		}
		kind := pack.Have
		if r.IntN(10) == 0 {
			kind = pack.Forget
		}
		list = append(list, pack.Record{Kind: kind, Path: e.Path, Entry: e})
	}
	if r.IntN(10) > 0 {
		slices.SortFunc(list, func(a, b pack.Record) int { return tree.Compare(a.Entry.Path, b.Entry.Path) })
		list = slices.CompactFunc(list, func(a, b pack.Record) bool { return a.Entry.Path == b.Entry.Path })
	}
	return list, content
}

// randomAnswer is what a machine sends in place of the contents that it was asked for.
func randomAnswer(r *rand.Rand, recs []pack.Record) []pack.Record {
	if r.IntN(2) == 0 || len(recs) == 0 {
		return recs
	}
	out := slices.Clone(recs)
	for range 1 + r.IntN(2) {
		i := r.IntN(len(out))
		switch r.IntN(7) {
		case 0:
			out[i].Entry.Path = hostileNames[r.IntN(len(hostileNames))]
		case 1:
			out[i].Content = []byte(strings.Repeat("more", r.IntN(5000)))
		case 2:
			out = append(out, out[i])
		case 3:
			out = slices.Delete(out, i, i+1)
		case 4:
			begin := out[i]
			begin.Kind, begin.Content = pack.Begin, nil
			piece, end := begin, begin
			piece.Kind, piece.Content = pack.Piece, []byte(strings.Repeat("p", r.IntN(100_000)))
			end.Kind = pack.End
			out = slices.Replace(out, i, i+1, begin, piece, piece, end)
		case 5:
			out[i].Kind = pack.Kind(r.IntN(16))
		case 6:
			out[i].Entry.Kind = tree.Kind(r.IntN(6))
		}
		if len(out) == 0 {
			break
		}
	}
	return out
}
