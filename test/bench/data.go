package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// A shape is what a data set looks like.
type shape struct {
	files  int     // files and links
	median float64 // size of a file
	sigma  float64 // of the logarithm of sizes
	most   float64 // the largest file
	total  float64 // bytes
	links  float64 // share that are symbolic links
}

// shapes are three kinds of project: an app with resources, a repository of many small sources, and
// a few artefacts.
var shapes = map[string]shape{
	"A": {files: 30_000, median: 2560, sigma: 1.9, most: 5 << 20, total: 362e6, links: 0.02},
	"B": {files: 100_000, median: 1500, sigma: 1.38, most: 1 << 20, total: 410e6, links: 0.02},
	"C": {files: 12, median: 85e6, sigma: 0.4, most: 200e6, total: 1074e6},
}

// Size is what is in a tree.
type size struct {
	files, links, dirs int
	bytes              int64
}

func (s size) String() string {
	return fmt.Sprintf("%d files, %d links, %d folders, %.1f MB", s.files, s.links, s.dirs, float64(s.bytes)/1e6)
}

// A writer makes trees that are the same each time: seed and shape say all.
type writer struct {
	rand *rand.Rand
	pool []byte // text that compresses as source code does
}

func newWriter(seed uint64) *writer {
	w := &writer{rand: rand.New(rand.NewPCG(seed, 20))}
	w.fillPool(rand.New(rand.NewPCG(1, 1)))
	return w
}

// fillPool makes text of words that are used as unevenly as words are.
func (w *writer) fillPool(r *rand.Rand) {
	const letters = "etaoinsrhdlucmfywgpbvkxqjz"
	words := make([][]byte, 3000)
	for i := range words {
		for range 2 + r.IntN(9) {
			words[i] = append(words[i], letters[int(float64(len(letters))*math.Pow(r.Float64(), 1.7))])
		}
	}
	ends := []string{" ", " ", " ", " ", " ", "(", ") {\n\t", ";\n", " = ", ".", "_"}
	for len(w.pool) < 4<<20 {
		w.pool = append(w.pool, words[int(float64(len(words))*math.Pow(r.Float64(), 2.5))]...)
		w.pool = append(w.pool, ends[r.IntN(len(ends))]...)
	}
}

// content is n bytes, for three files in ten without any pattern, as an image is.
func (w *writer) content(n int) []byte {
	b := make([]byte, n)
	if w.rand.IntN(10) < 3 {
		w.noise(b)
		return b
	}
	for rest := b; len(rest) > 0; {
		from := w.rand.IntN(len(w.pool) - 2000)
		k := copy(rest, w.pool[from:from+500+w.rand.IntN(1500)])
		rest = rest[k:]
		k = copy(rest, strconv.FormatUint(w.rand.Uint64(), 36)) // so that no two files share much
		rest = rest[k:]
	}
	return b
}

func (w *writer) noise(b []byte) {
	for i := range b {
		if i%8 == 0 {
			v := w.rand.Uint64()
			for j := i; j < min(i+8, len(b)); j++ {
				b[j] = byte(v)
				v >>= 8
			}
		}
	}
}

// sizes draws the sizes of n files whose sum is total, by stretching the largest quarter.
func (w *writer) sizes(s shape, n int, total float64) []float64 {
	sizes := make([]float64, n)
	for i := range sizes {
		sizes[i] = min(s.median*math.Exp(s.sigma*w.rand.NormFloat64()), s.most)
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(sizes[a], sizes[b]) })
	large := order[n*3/4:]
	if n < 20 {
		large = order
	}
	var small, big float64
	for _, v := range sizes {
		small += v
	}
	for _, i := range large {
		big += sizes[i]
	}
	small -= big
	for _, i := range large {
		sizes[i] = min(max(1, sizes[i]*(total-small)/big), s.most)
	}
	return sizes
}

// tree makes a data set of scale in dir.
func (w *writer) tree(dir string, s shape, scale float64) error {
	n := max(3, int(float64(s.files)*scale))
	dirs := w.folders(n / 8)
	var made []string
	for i, bytes := range w.sizes(s, n, s.total*scale*float64(n)/(float64(s.files)*scale)) {
		name := filepath.Join(dirs[w.rand.IntN(len(dirs))], fmt.Sprintf("f%05d%s", i, []string{".go", ".swift", ".h", ".json", ".png"}[w.rand.IntN(5)]))
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if w.rand.Float64() < s.links && len(made) > 0 {
			target, err := filepath.Rel(filepath.Dir(name), made[w.rand.IntN(len(made))])
			if err != nil {
				return err
			}
			if err := os.Symlink(target, path); err != nil {
				return err
			}
			continue
		}
		mode := fs.FileMode(0o644)
		if w.rand.IntN(30) == 0 {
			mode = 0o755
		}
		if err := os.WriteFile(path, w.content(int(bytes)), mode); err != nil {
			return err
		}
		stamp := time.Date(2026, 1, 1, 0, 0, i, 123456789, time.UTC)
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			return err
		}
		made = append(made, name)
	}
	return nil
}

// folders names n folders at most eight deep, some with many below and most with few.
func (w *writer) folders(n int) []string {
	dirs, depth := []string{"."}, []int{0}
	for i := range n {
		p := w.rand.IntN(len(dirs))
		if depth[p] == 8 {
			p = 0
		}
		dirs = append(dirs, filepath.Join(dirs[p], fmt.Sprintf("d%d", i)))
		depth = append(depth, depth[p]+1)
	}
	return dirs
}

// change edits one file in a hundred, in place or at its end, and removes and
// makes a few: what a person does between two builds.
func (w *writer) change(dir string, round int) error {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	w.rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	edits := max(3, len(files)/100)
	few := min(50, len(files)/50)
	for _, path := range files[:edits] {
		if err := w.edit(path); err != nil {
			return err
		}
	}
	for _, path := range files[edits : edits+few] {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	fresh := filepath.Join(dir, fmt.Sprintf("new%d", round))
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return err
	}
	for i := range max(2, few) {
		if err := os.WriteFile(filepath.Join(fresh, fmt.Sprintf("n%d.go", i)), w.content(3000), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) edit(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at := info.Size()
	if at > 4096 {
		at /= 2
	}
	_, err = f.WriteAt(w.content(300), at)
	return err
}

// output makes what a build leaves: 2,000 files, 100 MB at scale 1.
func (w *writer) output(dir string, scale float64) error {
	s := shape{files: 2000, median: 12e3, sigma: 1.6, most: 8 << 20, total: 99e6}
	for i, bytes := range w.sizes(s, max(20, int(float64(s.files)*scale)), s.total*scale) {
		path := filepath.Join(dir, fmt.Sprintf("d%02d", i%40), fmt.Sprintf("o%05d.o", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, w.content(int(bytes)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// measure counts what is in a tree.
func measure(dir string) (size, error) {
	var s size
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == dir:
		case d.IsDir():
			s.dirs++
		case d.Type()&fs.ModeSymlink != 0:
			s.links++
		default:
			info, err := d.Info()
			if err != nil {
				return err
			}
			s.files++
			s.bytes += info.Size()
		}
		return nil
	})
	return s, err
}
