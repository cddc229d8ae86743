package wine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/parcel"
)

// carry sends or fetches one parcel over a connection of its own.
func (h *host) carry(method, far, near string) (parcel.Report, error) {
	conn, err := h.open(h.t.Context(), "serve")
	if err != nil {
		return parcel.Report{}, err
	}
	defer conn.Close()
	if err := conn.SendRequest(method, parcel.Request{Name: far}); err != nil {
		return parcel.Report{}, err
	}
	o := parcel.Options{Side: fault.LocalFile, Asked: far}
	if method == parcel.MethodUnpack {
		return parcel.Put(h.t.Context(), conn, near, o)
	}
	return parcel.Get(h.t.Context(), conn, near, o)
}

func TestParcels(t *testing.T) {
	h := newHost(t)
	src, back := t.TempDir(), t.TempDir()
	tree := map[string]string{"file": "content\r\n", "deep/er/file": strings.Repeat("x", 1<<20), "with blank": ""}
	for name, content := range tree {
		path := filepath.Join(src, "tree", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	far := filepath.Dir(strings.ReplaceAll(h.root, `\`, "/")) // C:/outrigger-…
	if r, err := h.carry(parcel.MethodUnpack, far+"/there", filepath.Join(src, "tree")); err != nil || r.Files != 3 {
		t.Fatalf("put: %+v, %v", r, err)
	}
	// Both ways to write a path of Windows are understood.
	if _, err := h.carry(parcel.MethodPack, strings.ReplaceAll(far, "/", `\`)+`\there`, back); err != nil {
		t.Fatalf("get: %v", err)
	}
	for name, want := range tree {
		if got, err := os.ReadFile(filepath.Join(back, "there", name)); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}

	// What Windows cannot hold is refused by name, not put somewhere else.
	for _, name := range []string{"a:b", `back\slash`, "CON", "question?", "dot."} {
		path := filepath.Join(t.TempDir(), "bad")
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := h.carry(parcel.MethodUnpack, far+"/bad-"+string(rune('a'+len(name))), path)
		if !fault.Is(err, fault.BadName) {
			t.Errorf("%q: got %v, want a BadName fault", name, err)
		}
	}

	// Two names that differ in case only are one file there.
	path := filepath.Join(t.TempDir(), "case")
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Same", "same"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.carry(parcel.MethodUnpack, far+"/case", path); !fault.Is(err, fault.BadName) {
		t.Errorf("names that differ in case only: got %v, want a BadName fault", err)
	}
}
