package transfer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

func TestUpAndBack(t *testing.T) {
	noGoroutines(t)
	p := newPair(t)
	write(t, p.near, map[string]string{
		"a.txt": "hello", "empty": "", "dir/": "", "dir/sub/deep.c": "int x;", "empty dir/": "",
		"link -> a.txt": "", "dir/outside -> /etc/passwd": "", "dangling -> nowhere/at/all": "",
		"big.bin": strings.Repeat("0123456789abcdef", 100_000), "weird\xff\nname": "bytes",
	})
	chmod(t, p.near, "a.txt", 0o755)
	chmod(t, p.near, "empty dir", 0o500)
	if err := os.Chtimes(filepath.Join(p.near, "a.txt"), time.Time{}, time.Unix(1_000_000_000, 123456789)); err != nil {
		t.Fatal(err)
	}
	rep := p.mustUp()
	p.wantEqual()
	if rep.Files != 5 || rep.Links != 3 || rep.Folders != 3 || rep.Deleted != 0 {
		t.Errorf("report: %+v", rep)
	}
	rep = p.mustUp()
	if rep.Files+rep.Links+rep.Folders+rep.Deleted+rep.Touched != 0 {
		t.Errorf("nothing changed, but: %+v", rep)
	}

	write(t, p.far, map[string]string{"out/result.txt": "42", "a.txt": "changed there"})
	remove(t, p.far, "dangling")
	chmod(t, p.far, "dir/sub/deep.c", 0o600)
	rep = p.mustBack()
	p.wantEqual()
	if rep.Files != 2 || rep.Folders != 1 || rep.Deleted != 1 || rep.Touched != 1 {
		t.Errorf("report: %+v", rep)
	}
	rep = p.mustBack()
	if rep.Files+rep.Links+rep.Folders+rep.Deleted+rep.Touched != 0 {
		t.Errorf("nothing changed, but: %+v", rep)
	}
	remove(t, p.near, "dir")
	write(t, p.near, map[string]string{"dir": "now a file"})
	remove(t, p.near, "a.txt")
	write(t, p.near, map[string]string{"a.txt/b": "now a folder"})
	p.mustUp()
	p.wantEqual()
	noTemp(t, p.near, p.far)
}

func TestConflictHoldsBackItsOwnPathOnly(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"both": "1", "gone": "1", "same": "1", "near": "1", "far": "1", "kind/x": "1", "kind/y": "1"})
	p.mustUp()
	write(t, p.near, map[string]string{"both": "near's", "same": "same", "near": "2"})
	remove(t, p.near, "gone")
	remove(t, p.near, "kind")
	write(t, p.near, map[string]string{"kind": "a file"})
	write(t, p.far, map[string]string{"both": "far's", "same": "same", "gone": "edited", "far": "2", "kind/x": "edited", "new/made": "1"})
	for _, op := range []func() (transfer.Report, error){p.up, p.back, p.up, p.back} {
		_, err := op()
		if !fault.Is(err, fault.Conflict) {
			t.Fatalf("got %v, want a conflict", err)
		}
		var named []string
		for line := range strings.SplitSeq(asFault(err).Detail, "\n") {
			path, _, _ := strings.Cut(line, ":")
			named = append(named, path)
		}
		if diff := cmp.Diff([]string{"both", "gone", "kind"}, named); diff != "" {
			t.Errorf("named (-want +got):\n%s", diff)
		}
	}
	want := map[string]string{"both": "near's", "same": "same", "near": "2", "far": "2", "kind": "a file", "new/made": "1"}
	if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
		t.Errorf("here:\n%s", diff)
	}
	want = map[string]string{"both": "far's", "gone": "edited", "same": "same", "near": "2", "far": "2", "kind/x": "edited", "kind/y": "1", "new/made": "1"}
	if diff := cmp.Diff(want, contents(t, p.far)); diff != "" {
		t.Errorf("there:\n%s", diff)
	}
	// Settled by hand, all is well again.
	remove(t, p.near, "kind")
	write(t, p.near, map[string]string{"both": "far's", "gone": "edited", "kind/x": "edited", "kind/y": "1"})
	p.mustUp()
	p.mustBack()
	p.wantEqual()
}

func TestOneSideMayBePreferred(t *testing.T) {
	for _, prefer := range []plan.Prefer{plan.Near, plan.Far} {
		p := newPair(t)
		p.prefer, p.believe = prefer, true
		write(t, p.near, map[string]string{"both": "1", "deleted there": "1", "deleted here": "1", "kind": "1", "d/deep/x": "1"})
		p.mustUp()
		write(t, p.near, map[string]string{"both": "near", "deleted there": "near", "kind": "near", "d/deep/x": "near"})
		remove(t, p.near, "deleted here")
		write(t, p.far, map[string]string{"both": "far", "deleted here": "far"})
		for _, name := range []string{"deleted there", "kind", "d"} {
			remove(t, p.far, name)
		}
		write(t, p.far, map[string]string{"kind/x": "far"})
		want := contents(t, p.near)
		if prefer == plan.Far {
			want = contents(t, p.far)
		}
		rep := p.mustUp()
		p.mustBack()
		p.wantEqual()
		if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
			t.Errorf("prefer %v:\n%s", prefer, diff)
		}
		if len(rep.Warnings) != 5 {
			t.Errorf("prefer %v: warnings %q, want one for each of 5 paths", prefer, rep.Warnings)
		}
	}
}

// TestBothVersionsMayBeKept lets both sides change the same files, before a run
// and during it: in the end each side has every version, once.
func TestBothVersionsMayBeKept(t *testing.T) {
	for _, first := range []string{"up", "back"} {
		p := newPair(t)
		p.prefer = plan.Both
		write(t, p.near, map[string]string{"both": "1", "kind": "1", "dir/a": "1", "dir/b": "1", "gone": "1"})
		p.mustUp()
		write(t, p.near, map[string]string{"both": "near", "kind": "near", "gone": "near"})
		remove(t, p.near, "dir")
		write(t, p.near, map[string]string{"dir": "a file"})
		write(t, p.far, map[string]string{"both": "far", "both.outrigger-there": "in use", "dir/a": "far"})
		for _, name := range []string{"kind", "dir/b", "gone"} {
			remove(t, p.far, name)
		}
		write(t, p.far, map[string]string{"kind/x/y": "far", "kind/z": strings.Repeat("z", 300_000)})
		want := map[string]string{
			"both": "near", "kind": "near", "dir": "a file", "gone": "near", "both.outrigger-there": "in use",
			"both.outrigger-there-2": "far", "kind.outrigger-there/x/y": "far", "kind.outrigger-there/z": strings.Repeat("z", 300_000),
			"dir.outrigger-there/a": "far",
		}
		if first == "back" {
			p.mustBack()
		}
		p.mustUp()
		p.mustBack()
		p.wantEqual()
		if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
			t.Errorf("%s first (-want +got):\n%.1000s", first, diff)
		}
		if rep := p.mustUp(); rep.Files > 0 {
			t.Errorf("%s first: equal, but: %+v", first, rep)
		}
	}
}

// TestAFolderComesBackWithWhatNobodyChanged lets a folder be replaced here while one file in it changes there: where the
// machine's version is wanted, it comes with the files in it that are as they always were.
func TestAFolderComesBackWithWhatNobodyChanged(t *testing.T) {
	const large = 300_000
	for _, tt := range []struct {
		name   string
		prefer plan.Prefer
		here   map[string]string // what takes the folder's place
		at     string            // where the machine's version comes
	}{
		{"a file is in its place, theirs counts", plan.Far, map[string]string{"dir": "a file"}, "dir"},
		{"it is gone, theirs counts", plan.Far, nil, "dir"},
		{"a file is in its place, both are kept", plan.Both, map[string]string{"dir": "a file"}, "dir.outrigger-there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t)
			p.prefer, p.believe = tt.prefer, true
			in := map[string]string{"dir/a": "1", "dir/same": "s", "dir/sub/large": strings.Repeat("l", large), "other": "o"}
			for i := range 250 {
				in[fmt.Sprintf("dir/sub/%d", i)] = fmt.Sprint(i)
			}
			write(t, p.near, in)
			p.mustUp()
			remove(t, p.near, "dir")
			write(t, p.near, tt.here)
			write(t, p.far, map[string]string{"dir/a": "far", "dir/sub/7": "seven"})
			p.mustBack()
			p.mustUp()
			got := contents(t, p.near)
			for path, text := range map[string]string{"a": "far", "sub/7": "seven"} {
				if is := got[tt.at+"/"+path]; is != text {
					t.Errorf("%s: %q, want %q", path, is, text)
				}
			}
			if tt.here == nil {
				return // then only what was changed there is wanted
			}
			for _, path := range []string{"same", "sub/large", "sub/8", "sub/249"} {
				if is, want := got[tt.at+"/"+path], in["dir/"+path]; is != want {
					t.Errorf("%s: %.20q, want %.20q", path, is, want)
				}
			}
			p.wantEqual()
		})
	}
}

// TestWhatTakesThePlaceOfExcludedFilesComesBeside makes something else of folders
// that hold excluded files here: those stay, and nothing else is lost.
func TestWhatTakesThePlaceOfExcludedFilesComesBeside(t *testing.T) {
	p := newPair(t)
	p.exclude = []string{"cache/"}
	write(t, p.near, map[string]string{"pkg/src": "s", "pkg/cache/c": "c", "lib/deep/src": "s", "lib/deep/cache/c": "c", "other": "1"})
	p.mustUp()
	p.run(func() {
		remove(t, p.far, "pkg")
		remove(t, p.far, "lib")
		write(t, p.far, map[string]string{"pkg": "a file", "lib -> other": "", "zlast": "z"})
	})
	rep := p.mustBack()
	want := map[string]string{"pkg/src": "s", "pkg/cache/c": "c", "lib/deep/src": "s", "lib/deep/cache/c": "c", "other": "1",
		"pkg.outrigger-there": "a file", "zlast": "z"}
	if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
		t.Errorf("here (-want +got):\n%s", diff)
	}
	if target, err := os.Readlink(filepath.Join(p.near, "lib.outrigger-there")); err != nil || target != "other" {
		t.Errorf("lib: %q, %v", target, err)
	}
	if len(rep.Warnings) != 2 {
		t.Errorf("warnings: %q", rep.Warnings)
	}
	p.mustUp()
	delete(want, "pkg/cache/c")
	delete(want, "lib/deep/cache/c")
	if diff := cmp.Diff(want, contents(t, p.far)); diff != "" {
		t.Errorf("there (-want +got):\n%s", diff)
	}
}

func TestChangesWaitForTheirDirection(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1", "b": "1", "c": "1", "d/x": "1"})
	p.mustUp()
	write(t, p.near, map[string]string{"a": "near", "new/here": "1"})
	remove(t, p.near, "d")
	write(t, p.far, map[string]string{"b": "far", "made/there": "1", "d/y": "kept"})
	remove(t, p.far, "c")
	p.mustUp()
	want := map[string]string{"a": "near", "b": "1", "c": "1", "new/here": "1"}
	if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
		t.Errorf("near after up:\n%s", diff)
	}
	want = map[string]string{"a": "near", "b": "far", "made/there": "1", "new/here": "1", "d/y": "kept"}
	if diff := cmp.Diff(want, contents(t, p.far)); diff != "" {
		t.Errorf("far after up:\n%s", diff)
	}
	write(t, p.near, map[string]string{"a": "again"})
	p.mustBack()
	if diff := cmp.Diff(map[string]string{"a": "again", "b": "far", "made/there": "1", "new/here": "1", "d/y": "kept"}, contents(t, p.near)); diff != "" {
		t.Errorf("near after back:\n%s", diff)
	}
	p.mustUp()
	p.wantEqual()
}

func TestExcludes(t *testing.T) {
	p := newPair(t)
	p.exclude = []string{"!keep.o"} // the last that matches counts: the flag takes back what the file says
	write(t, p.near, map[string]string{".outriggerignore": "/build/\n*.o\n", "a.c": "1", "a.o": "1", "keep.o": "1", "build/x": "1", "lib/b.o": "near", "lib/b.c": "1"})
	p.mustUp()
	want := map[string]string{".outriggerignore": "/build/\n*.o\n", "a.c": "1", "keep.o": "1", "lib/b.c": "1"}
	if diff := cmp.Diff(want, contents(t, p.far)); diff != "" {
		t.Errorf("far:\n%s", diff)
	}
	write(t, p.far, map[string]string{"b.o": "1", "build/y": "1", "lib/b.o": "far"})
	p.mustBack()
	remove(t, p.near, "lib")
	rep := p.mustUp()
	want = map[string]string{".outriggerignore": "/build/\n*.o\n", "a.c": "1", "keep.o": "1", "b.o": "1", "build/y": "1", "lib/b.o": "far"}
	if diff := cmp.Diff(want, contents(t, p.far)); diff != "" {
		t.Errorf("far, whose excluded files must stay:\n%s", diff)
	}
	if len(rep.Warnings) != 1 || !strings.Contains(rep.Warnings[0], "lib") {
		t.Errorf("warnings: %q", rep.Warnings)
	}
	p.mustBack()
	want = map[string]string{".outriggerignore": "/build/\n*.o\n", "a.c": "1", "a.o": "1", "keep.o": "1", "build/x": "1"}
	if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
		t.Errorf("near, where the folder must not come back:\n%s", diff)
	}
}

func TestReadOnlyFolders(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"ro/a": "1", "ro/sub/b": "1", "ro2/c": "1"})
	chmod(t, p.near, "ro/sub", 0o555)
	chmod(t, p.near, "ro", 0o555)
	t.Cleanup(func() {
		for _, root := range []string{p.near, p.far} {
			os.Chmod(filepath.Join(root, "ro"), 0o755)
			os.Chmod(filepath.Join(root, "ro/sub"), 0o755)
		}
	})
	p.mustUp()
	p.wantEqual()
	chmod(t, p.far, "ro/sub", 0o755)
	write(t, p.far, map[string]string{"ro/sub/new": "2"})
	chmod(t, p.far, "ro/sub", 0o555)
	p.mustBack()
	p.wantEqual()
	chmod(t, p.near, "ro", 0o755)
	chmod(t, p.near, "ro/sub", 0o755)
	remove(t, p.near, "ro/sub")
	chmod(t, p.near, "ro", 0o555)
	p.mustUp()
	p.wantEqual()
}

func TestLostBaselineIsNoConflictWhereContentIsEqual(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1", "d/b": "2", "l -> a": ""})
	p.mustUp()
	if err := os.RemoveAll(p.nearState); err != nil {
		t.Fatal(err)
	}
	write(t, p.far, map[string]string{"d/new": "3"})
	rep := p.mustUp()
	if rep.Files != 0 {
		t.Errorf("report: %+v", rep)
	}
	p.mustBack()
	p.wantEqual()
	remove(t, p.near, "a")
	p.mustUp()
	p.wantEqual()
}

func chmod(t testing.TB, root, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, root, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
		t.Fatal(err)
	}
}

// contents returns the files of a tree and what is in them.
func contents(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for path, what := range snapshot(t, root) {
		if strings.HasPrefix(what, "file") {
			b, err := os.ReadFile(filepath.Join(root, path))
			if err != nil {
				t.Fatal(err)
			}
			out[path] = string(b)
		}
	}
	return out
}

func asFault(err error) *fault.Error {
	f, _ := errors.AsType[*fault.Error](err)
	return f
}
