package tree_test

import (
	"os"
	"testing"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// BenchmarkScan walks the folder in OUTRIGGER_BENCH_TREE.
func BenchmarkScan(b *testing.B) {
	dir := os.Getenv("OUTRIGGER_BENCH_TREE")
	if dir == "" {
		b.Skip("OUTRIGGER_BENCH_TREE names no folder")
	}
	root, err := tree.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	for b.Loop() {
		nodes, err := tree.Scanner{}.All(b.Context(), root)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(nodes)), "entries")
	}
}
