package arch

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/machine"
)

var update = flag.Bool("update", false, "rewrite deps/*.txt")

// binaries are what users get, and the systems that they are for.
var binaries = map[string][]machine.Platform{
	"agent": AllSystems, "outrigger": AllSystems,
	"relay": {{OS: "linux", Arch: "amd64"}},
}

// TestWhatEachBinaryLinks compares with deps/NAME.txt, so that a new dependency
// is seen in the commit that brings it. Packages of our own are what layers.txt is about.
func TestWhatEachBinaryLinks(t *testing.T) {
	for name, platforms := range binaries {
		t.Run(name, func(t *testing.T) {
			on := map[string][]string{} // systems by package
			for _, system := range platforms {
				list, err := List(t.Context(), system, "-deps", "./cmd/"+name)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range list {
					if !p.Standard && !strings.HasPrefix(p.ImportPath, Module+"/") {
						on[p.ImportPath] = append(on[p.ImportPath], system.OS)
					}
				}
			}
			var lines []string
			for pkg, systems := range on {
				if len(systems) < len(platforms) {
					pkg += " (" + strings.Join(systems, " ") + ")"
				}
				lines = append(lines, pkg+"\n")
			}
			slices.Sort(lines)
			got, file := strings.Join(lines, ""), filepath.Join("deps", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Fields(string(want)), strings.Fields(got)); diff != "" {
				t.Errorf("cmd/%s links something else than %s says (-want +got):\n%s\nIf that is meant: go test ./tools/arch -update", name, file, diff)
			}
		})
	}
}

// TestSize builds what users get as `make build` does and compares with sizes.txt.
func TestSize(t *testing.T) {
	if testing.Short() {
		t.Skip("builds binaries, which -short leaves out")
	}
	b, err := os.ReadFile("sizes.txt")
	if err != nil {
		t.Fatal(err)
	}
	budget := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		mib, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			t.Fatalf("sizes.txt: %q: %v", line, err)
		}
		budget[words[0]] = mib
	}
	for name, platforms := range binaries {
		for _, p := range platforms {
			t.Run(name+"-"+p.OS, func(t *testing.T) {
				out := filepath.Join(t.TempDir(), name)
				cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, "./cmd/"+name)
				cmd.Dir = "../.."
				cmd.Env = append(os.Environ(), "GOOS="+p.OS, "GOARCH="+p.Arch, "CGO_ENABLED=0")
				if msg, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, msg)
				}
				fi, err := os.Stat(out)
				if err != nil {
					t.Fatal(err)
				}
				mib := float64(fi.Size()) / (1 << 20)
				t.Logf("%.1f MiB", mib)
				if limit := budget[name]; mib > limit {
					t.Errorf("%s for %s is %.1f MiB, its budget in sizes.txt is %g", name, p, mib, limit)
				}
			})
		}
	}
}

// TestMakefileBuildsEveryPlatform: the Makefile cannot read Go, so it repeats the list.
func TestMakefileBuildsEveryPlatform(t *testing.T) {
	var want []string
	for _, p := range machine.Platforms {
		want = append(want, fmt.Sprint(p))
	}
	slices.Sort(want)
	for _, file := range []string{"Makefile", ".ci/run"} {
		b, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^(?:PLATFORMS := |for platform in )((?: ?[a-z]+/[a-z0-9]+)+)`).FindSubmatch(b)
		if found == nil {
			t.Fatalf("%s: no list of platforms", file)
		}
		got := strings.Fields(string(found[1]))
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("platforms in %s (-machine.Platforms +%s):\n%s", file, file, diff)
		}
	}
}
