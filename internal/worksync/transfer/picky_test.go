package transfer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/names"
)

// TestNamesThatCannotBeHeldAreLeft tells a far side what
// a probe of a Mac's or a Windows machine's folder would have found.
func TestNamesThatCannotBeHeldAreLeft(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ways  names.Ways
		files []string
		want  []string // parts of the detail; none: it is all right
		there []string // what comes all the same
	}{
		{"case on a Mac", names.Ways{FoldsCase: true, FoldsNorm: true}, []string{"README", "readme", "x/A", "y/a"}, []string{`"README", "readme"`}, []string{"x/A", "y/a"}},
		{"no case on Linux", names.Ways{}, []string{"README", "readme"}, nil, []string{"README", "readme"}},
		{"folders that are one on a Mac", names.Ways{FoldsCase: true}, []string{"Doc/a", "doc/b", "z"}, []string{`"Doc", "doc"`}, []string{"z"}},
		{"devices on Windows", names.Ways{DOS: true, FoldsCase: true}, []string{"ok", "src/aux.c", "a:b"}, []string{`"src/aux.c"`, `"a:b"`}, []string{"ok"}},
		{"ordinary names on Windows", names.Ways{DOS: true, FoldsCase: true}, []string{"ok", "src/main.c"}, nil, []string{"ok", "src/main.c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			root, far := filepath.Join(dir, "near"), filepath.Join(dir, "far")
			for _, d := range []string{root, far} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range tt.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, name), []byte(name), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			a, b := net.Pipe()
			served := make(chan error, 1)
			s := &server{link: link{conn: wire.NewConn(b)}, cfg: ServeConfig{Root: far, StateDir: filepath.Join(dir, "fs"), Log: slog.New(slog.DiscardHandler)}, ways: &tt.ways}
			go func() { served <- s.run(context.Background()) }()
			session, err := Open(t.Context(), wire.NewConn(a), ClientConfig{Root: root, StateDir: filepath.Join(dir, "ns")})
			if err != nil {
				t.Fatal(err)
			}
			_, err = session.Up(t.Context())
			if cerr := session.Close(); cerr != nil {
				t.Error(cerr)
			}
			if serr := <-served; serr != nil {
				t.Error(serr)
			}
			for _, name := range tt.files {
				_, lerr := os.Lstat(filepath.Join(far, name))
				if came := lerr == nil; came != slices.Contains(tt.there, name) {
					t.Errorf("%s: came there: %v", name, came)
				}
			}
			if len(tt.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Kind != fault.BadName {
				t.Fatalf("got %v, want a fault of kind BadName", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(f.Detail, part) {
					t.Errorf("detail %q lacks %s", f.Detail, part)
				}
			}
		})
	}
}
