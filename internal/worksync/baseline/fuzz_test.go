package baseline

import (
	"testing"

	"github.com/zeebo/blake3"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// FuzzDecode holds that no file in the place of a baseline makes us panic. The
// checksum is put right first, or nothing behind it would ever be tried.
func FuzzDecode(f *testing.F) {
	b := encode(Generation{ID: NewID(), Nodes: []tree.Node{{Entry: tree.Entry{Path: "a", Kind: tree.File, Mode: 0o644, Size: 1, Digest: tree.Digest{1}}}}})
	f.Add(b[:len(b)-len(tree.Digest{})])
	f.Fuzz(func(_ *testing.T, in []byte) {
		sum := blake3.Sum256(in)
		_, _ = decode(append(in, sum[:]...)) // only a panic is wrong here
	})
}
