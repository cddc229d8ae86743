package apply_test

import (
	"os"
	"path/filepath"
	"testing"

	"outrigger.dev/outrigger/internal/worksync/apply"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Names need not be UTF-8: neither those of folders on the way, nor those
// beside a temporary file, nor that of the root.
func TestCleanTempWhereNamesAreBytes(t *testing.T) {
	root := filepath.Join(t.TempDir(), "r\xe9")
	left := filepath.Join(root, "caf\xe9", "\xff\xfe", tree.TempPrefix+"mine-1")
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(left), 0o755),
		os.WriteFile(left, nil, 0o644),
		os.WriteFile(filepath.Join(root, "caf\xe9", "\xfcber"), nil, 0o644),
		os.Symlink("\xff\xfe", filepath.Join(root, "caf\xe9", "l\xe9")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	n, err := apply.CleanTemp(t.Context(), root, "mine")
	if n != 1 || err != nil {
		t.Errorf("removed %d, %v; want 1", n, err)
	}
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}
