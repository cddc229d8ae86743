package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/machine"
)

// everywhere lists our packages as they are on each system.
func everywhere(t *testing.T, args ...string) map[machine.Platform][]Package {
	t.Helper()
	all := map[machine.Platform][]Package{}
	for _, p := range AllSystems {
		list, err := List(t.Context(), p, args...)
		if err != nil {
			t.Fatal(err)
		}
		all[p] = list
	}
	return all
}

func TestImportsGoDownOnly(t *testing.T) {
	layers, err := ReadLayers("layers.txt")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, pkgs := range everywhere(t, "./...") {
		for _, p := range pkgs {
			for _, to := range p.Imports {
				to, ours := strings.CutPrefix(to, Module+"/")
				if !ours {
					continue
				}
				if wrong := layers.Judge(p.Path(), to); wrong != "" && !said[wrong] {
					said[wrong] = true
					t.Error(wrong)
				}
			}
		}
	}
}

func TestWalls(t *testing.T) {
	said := map[string]bool{}
	for system, pkgs := range everywhere(t, "./...") {
		for _, w := range Walls {
			found := false
			for _, p := range pkgs {
				if !Match(w.Package, p.Path()) {
					continue
				}
				found = true
				for _, s := range w.Seen(p) {
					if key := p.Path() + " sees " + s; !said[key] {
						said[key] = true
						t.Errorf("%s, on %s: %s", key, system.OS, w.Why)
					}
				}
			}
			if !found {
				t.Errorf("a wall is about %s, which does not exist", w.Package)
			}
		}
	}
}

func TestDecidersAskForNoTime(t *testing.T) {
	for _, pkg := range Clockless {
		files, err := filepath.Glob(filepath.Join("../..", pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: no files (%v)", pkg, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && (sel.Sel.Name == "Now" || sel.Sel.Name == "Since" || sel.Sel.Name == "Until") {
						t.Errorf("%s: time.%s: %s", set.Position(n.Pos()), sel.Sel.Name, decides)
					}
				}
				return true
			})
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	said := map[string]bool{}
	for _, pkgs := range everywhere(t, "./...") {
		for _, p := range pkgs {
			if p.Doc != "" || said[p.Path()] || len(p.GoFiles) == 0 {
				continue
			}
			said[p.Path()] = true
			t.Errorf("%s: no package comment", p.Path())
		}
	}
}

// TestJudge: the table is only worth something if it can refuse.
func TestJudge(t *testing.T) {
	layers, err := ReadLayers("layers.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, from, to, want string }{
		{"down", "internal/relay", "internal/wire", ""},
		{"up", "internal/wire", "internal/relay", "imports go down only"},
		{"beside", "internal/wire", "internal/ledger", "imports go down only"},
		{"within a family", "internal/worksync/transfer", "internal/worksync/plan", ""},
		{"one provider to another", "internal/provider/qemu", "internal/provider/local", "imports go down only"},
		{"the list of providers to one", "internal/provider/all", "internal/provider/qemu", ""},
		{"product to test code", "internal/relay", "test/sshd", "for tests and tools"},
		{"test code to product", "test/bench", "internal/relay", ""},
		{"a package that nobody placed", "internal/util", "internal/wire", "is in no layer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := layers.Judge(tt.from, tt.to)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("Judge(%s, %s) is %q, want %q", tt.from, tt.to, got, tt.want)
			}
		})
	}
}
