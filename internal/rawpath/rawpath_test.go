package rawpath_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"outrigger.dev/outrigger/internal/rawpath"
)

func TestJSONKeepsEveryByte(t *testing.T) {
	for _, want := range []rawpath.Path{"", "/a b", "/caf\xe9/\xff", "/é\u2028<&>", "\"{\\", "\ufffd"} {
		b, err := json.Marshal(struct{ P rawpath.Path }{want})
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ P rawpath.Path }
		if err := json.Unmarshal(b, &got); err != nil || got.P != want {
			t.Errorf("%q became %s and %q, %v", want, b, got.P, err)
		}
	}
}

func TestGlobTakesOnlyThePatternForOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[home]")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b.json", "a.json", "a.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := rawpath.Glob(dir, "*.json")
	if want := []string{filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if got, err := rawpath.Glob(filepath.Join(dir, "none"), "*"); err != nil || got != nil {
		t.Errorf("of no folder: %q, %v", got, err)
	}
}
