package parcel_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"outrigger.dev/outrigger/internal/parcel"
)

// Names need not be UTF-8, in any place.
func TestNamesOfBytes(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(from, "caf\xe9", "b\xff"), 0o755),
		os.WriteFile(filepath.Join(from, "caf\xe9", "b\xff", "\xfcber"), []byte("x"), 0o644),
		os.Symlink("\xfcber", filepath.Join(from, "caf\xe9", "b\xff", "l\xe9")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := parcel.Pack(t.Context(), &b, filepath.Join(from, "caf\xe9"), parcel.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := parcel.Unpack(t.Context(), &b, to, parcel.Options{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(to, "caf\xe9", "b\xff", "l\xe9"))
	if err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
}
