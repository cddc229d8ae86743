package transfer_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// benchTree makes 30,000 small files in 3,000 folders, some 80 MB of text, or
// returns the folder in OUTRIGGER_BENCH_TREE.
func benchTree(b *testing.B) string {
	b.Helper()
	if dir := os.Getenv("OUTRIGGER_BENCH_TREE"); dir != "" {
		return dir
	}
	root := b.TempDir()
	r := rand.New(rand.NewPCG(1, 1))
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = "etaoin shrdlu\n"[r.IntN(14)]
	}
	for d := range 3000 {
		dir := filepath.Join(root, fmt.Sprint(d%50), fmt.Sprint(d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range 10 {
			size, at := r.IntN(5400), r.IntN(1<<19)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(f)), text[at:at+size], 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	return root
}

func BenchmarkFirstSync(b *testing.B) {
	src := benchTree(b)
	for b.Loop() {
		b.StopTimer()
		p := newPair(b)
		p.near = src
		b.StartTimer()
		rep := p.mustUp()
		b.SetBytes(rep.Bytes)
		b.ReportMetric(float64(rep.Files), "files")
		b.StopTimer()
		os.RemoveAll(p.far)
		b.StartTimer()
	}
}

func BenchmarkNoChange(b *testing.B) {
	p := newPair(b)
	p.near = benchTree(b)
	p.mustUp()
	for b.Loop() {
		if rep := p.mustUp(); rep.Files > 0 {
			b.Fatal("something changed")
		}
	}
}
