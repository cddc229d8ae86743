package baseline

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/blake3"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// A witness stands beside the far side's baseline and says why something may be
// missing from the folder: because a run of ours began in it. What is missing
// without one was lost, not deleted: a folder that somebody emptied, or one on a
// disk that is not mounted any more.
//
// It holds the agreed names directly in the folder, and from the end of a run on
// those that the run left. A run that begins in a folder that lost most of them
// is no witness of their loss, and neither is one after whose end they went.
type witness struct {
	Base  ID       `json:"base"` // the generation that it is about
	Ran   bool     `json:"ran"`
	Names []uint64 `json:"names"` // hashes
}

const (
	witnessFile = "witness"
	// maxWitness bounds the names that are kept.
	maxWitness = 10_000
)

// Settled notes that both sides agree on a generation, and that no run has begun since.
func (s *Store) Settled(g Generation) error {
	w := witness{Base: g.ID}
	for i := range g.Nodes {
		if path := g.Nodes[i].Path; tree.Parent(path) == "" && !g.Nodes[i].Stamp.Absent {
			w.Names = append(w.Names, hashName(path))
		}
	}
	slices.Sort(w.Names)
	w.Names = w.Names[:min(len(w.Names), maxWitness)]
	return writeWitness(s.dir, w)
}

// Believed tells whether what is missing at root went while a run was working
// on generation id.
func (s *Store) Believed(root string, id ID) (bool, error) {
	w, err := readWitness(s.dir)
	if err != nil || !w.Ran || w.Base != id {
		return false, err
	}
	names, err := namesIn(root)
	return err == nil && w.holds(names), err
}

// RunBegan is called before a run starts on the folder at root, whose store is in dir.
func RunBegan(dir, root string) error {
	w, err := readWitness(dir)
	if err != nil || w.Ran || w.Base == (ID{}) {
		return err
	}
	names, err := namesIn(root)
	if err != nil || !w.holds(names) {
		return err
	}
	w.Ran = true
	return writeWitness(dir, w)
}

// RunEnded is called after the last process of a run has ended.
func RunEnded(dir, root string) error {
	w, err := readWitness(dir)
	if err != nil || !w.Ran {
		return err
	}
	names, err := namesIn(root)
	if errors.Is(err, fs.ErrNotExist) {
		w.Ran, err = false, nil // a folder that is gone altogether is not one that was emptied
	}
	if err != nil {
		return err
	}
	w.Names = slices.DeleteFunc(w.Names, func(n uint64) bool { return !names[n] })
	return writeWitness(dir, w)
}

// holds tells whether at least half of the names are still there.
func (w witness) holds(now map[uint64]bool) bool {
	there := 0
	for _, n := range w.Names {
		if now[n] {
			there++
		}
	}
	return 2*there >= len(w.Names)
}

// namesIn returns the hashes of what is directly in a folder.
func namesIn(root string) (map[uint64]bool, error) {
	f, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	hashes := make(map[uint64]bool, len(names))
	for _, n := range names {
		hashes[hashName(n)] = true
	}
	return hashes, nil
}

// hashName stands for a name, which need not be text.
func hashName(name string) uint64 {
	sum := blake3.Sum256([]byte(name))
	return binary.LittleEndian.Uint64(sum[:])
}

// readWitness reads a witness; none, or one that cannot be read, has seen nothing.
func readWitness(dir string) (witness, error) {
	b, err := os.ReadFile(filepath.Join(dir, witnessFile))
	if errors.Is(err, fs.ErrNotExist) {
		return witness{}, nil
	}
	if err != nil {
		return witness{}, err
	}
	var w witness
	if json.Unmarshal(b, &w) != nil {
		return witness{}, nil
	}
	return w, nil
}

func writeWitness(dir string, w witness) error {
	b, err := json.Marshal(w)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, witnessFile+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, witnessFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
