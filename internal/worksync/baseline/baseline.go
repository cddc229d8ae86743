// Package baseline keeps what both sides of a sync last agreed on.
//
// Each side stores the agreed entries with its own stamps. The two sides cannot
// commit at the same instant, so each keeps two generations: the one it
// committed last and the one that was in use then. The far side commits first;
// whichever way a sync is cut off, the near side's last generation is still
// among the far side's two.
package baseline

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zeebo/blake3"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// An ID names one generation on both sides. It is random.
type ID [16]byte

// NewID returns a fresh one.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return id
}

// String returns the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// A Generation is the agreed tree as one side keeps it, in walk order.
type Generation struct {
	ID    ID
	Nodes []tree.Node
}

// A Store is the folder in which one side keeps its generations of one tree.
type Store struct{ dir string }

// The two files of a store.
const (
	current  = "baseline"
	previous = "baseline.previous"
)

// Open returns the store in dir, which it creates with mode 0700.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	return &Store{dir: dir}, nil
}

// A State is what a store holds.
type State struct {
	// Generations are those that could be read, the last one first.
	Generations []Generation
	// Committed tells whether there ever was a generation, even if none can be
	// read any more: a side that lost its memory is not a side that never had any.
	Committed bool
}

// Find returns the generation with the given ID.
func (s State) Find(id ID) (Generation, bool) {
	for _, g := range s.Generations {
		if g.ID == id {
			return g, true
		}
	}
	return Generation{}, false
}

// Load reads the store. A file that is damaged counts as one that was lost.
func (s *Store) Load() (State, error) {
	var st State
	for _, name := range []string{current, previous} {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return st, fmt.Errorf("baseline: %w", err)
		}
		st.Committed = true
		if g, err := decode(b); err == nil {
			st.Generations = append(st.Generations, g)
		}
	}
	return st, nil
}

// Commit makes g the last generation and keeps the one with the ID used, if
// there is one, as the other.
func (s *Store) Commit(g Generation, used ID) error {
	if err := s.write(g); err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	// The generation in use is in one of the two files; it must be in the second
	// before the first is replaced.
	if id, err := s.id(current); err == nil && id == used {
		if err := os.Rename(filepath.Join(s.dir, current), filepath.Join(s.dir, previous)); err != nil {
			return fmt.Errorf("baseline: %w", err)
		}
	}
	return s.install()
}

// Refresh writes a generation again whose stamps have changed but not what was
// agreed on. It must be the last one; another is left as it is.
func (s *Store) Refresh(g Generation) error {
	if id, err := s.id(current); err != nil || id != g.ID {
		return nil
	}
	if err := s.write(g); err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	return s.install()
}

const temporary = "baseline.new"

func (s *Store) write(g Generation) error {
	f, err := os.OpenFile(filepath.Join(s.dir, temporary), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(encode(g))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (s *Store) install() error {
	if err := os.Rename(filepath.Join(s.dir, temporary), filepath.Join(s.dir, current)); err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	return nil
}

// id reads only the head of a file.
func (s *Store) id(name string) (ID, error) {
	var head [len(magic) + len(ID{})]byte
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return ID{}, err
	}
	defer f.Close()
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return ID{}, err
	}
	return ID(head[len(magic):]), nil
}

// A file is magic, ID, number of nodes, nodes, and the BLAKE3 of all before.
const magic = "outrigger baseline 1\n"

var errDamaged = errors.New("damaged file")

const (
	bitRacy = 1 << iota
	bitAbsent
)

func encode(g Generation) []byte {
	b := make([]byte, 0, 64+128*len(g.Nodes))
	b = append(b, magic...)
	b = append(b, g.ID[:]...)
	b = binary.AppendUvarint(b, uint64(len(g.Nodes)))
	var enc tree.Encoder
	for i := range g.Nodes {
		n := &g.Nodes[i]
		b = enc.Append(b, &n.Entry)
		var bits byte
		if n.Stamp.Racy {
			bits |= bitRacy
		}
		if n.Stamp.Absent {
			bits |= bitAbsent
		}
		b = append(b, bits)
		b = binary.AppendVarint(b, n.Stamp.Size)
		b = binary.AppendVarint(b, n.Stamp.MTime)
		b = binary.AppendVarint(b, n.Stamp.CTime)
		b = binary.AppendUvarint(b, n.Stamp.Inode)
		b = binary.AppendUvarint(b, uint64(n.Stamp.Mode))
	}
	sum := blake3.Sum256(b)
	return append(b, sum[:]...)
}

func decode(b []byte) (Generation, error) {
	var g Generation
	body := len(b) - len(tree.Digest{})
	if body < len(magic)+len(g.ID) || string(b[:len(magic)]) != magic {
		return g, errDamaged
	}
	if sum := blake3.Sum256(b[:body]); !bytes.Equal(sum[:], b[body:]) {
		return g, errDamaged
	}
	copy(g.ID[:], b[len(magic):])
	d := tree.NewDecoder(b[len(magic)+len(g.ID) : body])
	count, err := d.Uvarint()
	if err != nil || count > tree.MaxEntries {
		return g, errDamaged
	}
	g.Nodes = make([]tree.Node, 0, count)
	for d.More() {
		n, err := node(d)
		if err != nil {
			return g, err
		}
		g.Nodes = append(g.Nodes, n)
	}
	if uint64(len(g.Nodes)) != count {
		return g, errDamaged
	}
	return g, nil
}

func node(d *tree.Decoder) (tree.Node, error) {
	var n tree.Node
	var err error
	if n.Entry, err = d.Entry(); err != nil {
		return n, err
	}
	bits, err := d.Byte()
	if err != nil {
		return n, err
	}
	n.Stamp.Racy, n.Stamp.Absent = bits&bitRacy != 0, bits&bitAbsent != 0
	for _, v := range []*int64{&n.Stamp.Size, &n.Stamp.MTime, &n.Stamp.CTime} {
		if *v, err = d.Varint(); err != nil {
			return n, err
		}
	}
	if n.Stamp.Inode, err = d.Uvarint(); err != nil {
		return n, err
	}
	mode, err := d.Uvarint()
	n.Stamp.Mode = uint32(mode)
	return n, err
}

// Update returns the nodes of base changed by set and forget, in walk order:
// the next generation.
func Update(base []tree.Node, set map[string]tree.Node, forget map[string]bool) []tree.Node {
	added := make([]tree.Node, 0, len(set))
	for _, n := range set {
		added = append(added, n)
	}
	sortNodes(added)
	out := make([]tree.Node, 0, len(base)+len(added))
	for _, n := range base {
		for len(added) > 0 && tree.Compare(added[0].Path, n.Path) < 0 {
			out = append(out, added[0])
			added = added[1:]
		}
		switch {
		case len(added) > 0 && added[0].Path == n.Path:
			out = append(out, added[0])
			added = added[1:]
		case !forget[n.Path]:
			out = append(out, n)
		}
	}
	return append(out, added...)
}
