package names_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

func TestCheck(t *testing.T) {
	mac := names.Ways{FoldsCase: true, FoldsNorm: true, UTF8Only: true}
	windows := names.Ways{FoldsCase: true, DOS: true}
	for _, tt := range []struct {
		name  string
		ways  names.Ways
		paths []string
		want  string
	}{
		{"Linux holds everything", names.Ways{}, []string{"a", "A", "\xff", "aux", "a:b"}, ""},
		{"upper and lower case", mac, []string{"Makefile", "makefile", "x"}, `"Makefile", "makefile": would be one and the same name there`},
		{"whatever their order", mac, []string{"readme", "x", "README"}, `"README", "readme": would be one and the same name there`},
		{"an accent written in two ways", mac, []string{"caf\u00e9", "cafe\u0301"}, "\"cafe\u0301\", \"caf\u00e9\": would be one and the same name there"},
		{"both at once", mac, []string{"CAFE\u0301", "caf\u00e9"}, "\"CAFE\u0301\", \"caf\u00e9\": would be one and the same name there"},
		{"colliding folders are named, their contents are not", mac, []string{"D", "D/x", "d", "d/x"}, `"D", "d": would be one and the same name there`},
		{"equal names in different folders", mac, []string{"a", "a/x", "b", "b/X"}, ""},
		{"not UTF-8", mac, []string{"a\xff"}, `"a\xff": is not UTF-8`},
		{"a device, with and without extension", windows, []string{"d", "d/AUX.txt", "com1", "comm", "nul.c"},
			`"d/AUX.txt": is the name of a device on Windows; "com1": is the name of a device on Windows; "nul.c": is the name of a device on Windows`},
		{"characters and ends", windows, []string{"a?b", "a.", "b "},
			`"a?b": holds '?', which Windows does not allow; "a.": ends with '.', which Windows drops; "b ": ends with ' ', which Windows drops`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range names.Check(tt.paths, tt.ways) {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProbeHere(t *testing.T) {
	dir := t.TempDir()
	got := probe(t, dir)
	if got.Picky() || got.NoModes || got.NoLinks {
		t.Skipf("not a plain Linux file system: %+v", got)
	}
}

// TestProbeRealFileSystems mounts a FAT image, which folds case, keeps no modes
// and has no links, if this system can.
func TestProbeRealFileSystems(t *testing.T) {
	dir := mountFAT(t)
	got := probe(t, dir)
	if !got.FoldsCase || !got.DOS || !got.NoModes || !got.NoLinks {
		t.Errorf("a FAT file system is said to be %+v", got)
	}
}

func probe(t *testing.T, dir string) names.Ways {
	t.Helper()
	root, err := tree.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ways, err := names.Probe(root, ".test-")
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return ways
}

func mountFAT(t *testing.T) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "fat.img"), t.TempDir()
	for _, cmd := range [][]string{
		{"truncate", "-s", "8M", image},
		{"mkfs.vfat", image},
		{"mount", "-o", "loop,utf8", image, dir},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no FAT file system to be had: %v: %v %s", cmd, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return dir
}

// TestProbeWritesThroughNoLink plants a link where the probe will be.
func TestProbeWritesThroughNoLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "victim"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("victim", filepath.Join(dir, ".test-probe")); err != nil {
		t.Skip(err)
	}
	root, err := tree.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := names.Probe(root, ".test-"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "victim")); err != nil || string(b) != "precious" {
		t.Errorf("the victim is %q, %v", b, err)
	}
}
