package transfer_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// TestCommitCutInTheMiddle takes the near side's baseline back to what it was
// before a sync, as if it had died between the far side's commit and its own.
func TestCommitCutInTheMiddle(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1", "b": "1", "c": "1", "d/e": "1"})
	p.mustUp()
	for i := range 4 {
		saved := filepath.Join(t.TempDir(), "saved")
		must(t, os.CopyFS(saved, os.DirFS(p.nearState)))
		write(t, p.near, map[string]string{"a": fmt.Sprint("near", i), fmt.Sprint("new", i): "x"})
		remove(t, p.near, []string{"b", "c", "d/e", "d"}[i])
		p.mustUp()
		must(t, os.RemoveAll(p.nearState))
		must(t, os.CopyFS(p.nearState, os.DirFS(saved)))
		write(t, p.far, map[string]string{"made there": fmt.Sprint(i)})
		rep := p.mustUp()
		if rep.Files+rep.Deleted > 0 {
			t.Errorf("round %d: moved again what was there: %+v", i, rep)
		}
		p.mustBack()
		p.wantEqual()
	}
}

func TestInterruptedBackThenLostStateIsNoConflict(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1", "b": "1"})
	p.mustUp()
	write(t, p.far, map[string]string{"a": "2", "new": "3"})
	saved := filepath.Join(t.TempDir(), "saved")
	must(t, os.CopyFS(saved, os.DirFS(p.nearState)))
	p.mustBack()
	must(t, os.RemoveAll(p.nearState))
	must(t, os.CopyFS(p.nearState, os.DirFS(saved)))
	p.mustBack()
	p.mustUp()
	p.wantEqual()
}

func TestMissingFolders(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1"})
	p.mustUp()
	must(t, os.RemoveAll(p.far))
	// A folder that is gone is not one whose files were deleted.
	if _, err := p.back(); !fault.Is(err, fault.RemoteFile) {
		t.Errorf("got %v, want the missing work folder", err)
	}
	if diff := cmp.Diff(map[string]string{"a": "1"}, contents(t, p.near)); diff != "" {
		t.Error(diff)
	}
	must(t, os.RemoveAll(p.near))
	_, err := transfer.Open(t.Context(), nil, transfer.ClientConfig{Root: p.near, StateDir: p.nearState})
	if !fault.Is(err, fault.LocalFile) {
		t.Errorf("got %v, want the missing folder here", err)
	}
}

func TestEmptyFoldersSync(t *testing.T) {
	p := newPair(t)
	p.mustUp()
	write(t, p.far, map[string]string{"made": "x"})
	if rep := p.mustBack(); rep.Files != 1 {
		t.Errorf("report: %+v", rep)
	}
	p.wantEqual()
	p.mustUp()
	p.run(func() { remove(t, p.far, "made") })
	p.mustBack()
	p.wantEqual()
}

func TestBackBeforeUpBringsNothing(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1"})
	write(t, p.far, map[string]string{"b": "1"})
	p.mustBack()
	if diff := cmp.Diff(map[string]string{"a": "1"}, contents(t, p.near)); diff != "" {
		t.Error(diff)
	}
	p.mustUp()
	p.wantEqual() // what a far side that never was in use holds is ours to clear
}

func TestIgnoreFileThatIsTooLong(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{".outriggerignore": strings.Repeat("x\n", 20_000)})
	if _, err := p.up(); !fault.Is(err, fault.Usage) {
		t.Errorf("got %v, want a fault of kind Usage", err)
	}
}

func TestUnreadableFileHereIsNamed(t *testing.T) {
	if asUser(t) {
		return
	}
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1", "d/secret": "x", "d/e/f": "1", "z": "1"})
	for _, closed := range []struct {
		path string
		mode os.FileMode
		back os.FileMode
	}{{"d/secret", 0, 0o600}, {"d/e", 0o300, 0o700}, {"d", 0o400, 0o700}, {"d", 0, 0o700}} {
		chmod(t, p.near, closed.path, closed.mode)
		_, err := p.up()
		wantLeft(t, err, fault.PathsLeft, closed.path)
		chmod(t, p.near, closed.path, closed.back)
		want := map[string]string{"a": "1", "z": "1"}
		for path, content := range contents(t, p.far) {
			if strings.HasPrefix(path, closed.path) {
				want[path] = content // from the time before, if at all
			} else if strings.HasPrefix(path, "d") {
				want[path] = contents(t, p.near)[path]
			}
		}
		if diff := cmp.Diff(want, contents(t, p.far)); diff != "" {
			t.Errorf("%s closed, there:\n%s", closed.path, diff)
		}
	}
	p.mustUp()
	p.wantEqual()
	// Closed after a sync, it is not taken for deleted, nor is what is in it.
	chmod(t, p.near, "d", 0)
	_, err := p.up()
	wantLeft(t, err, fault.PathsLeft, "d")
	chmod(t, p.near, "d", 0o700)
	p.mustUp()
	p.wantEqual()
}

func TestUnreadableFileThereIsNamed(t *testing.T) {
	if asUser(t) {
		return
	}
	p := newPair(t)
	write(t, p.near, map[string]string{"kept/a": "1"})
	p.mustUp()
	p.run(func() {
		write(t, p.far, map[string]string{"d/secret": "x", "closed/a": "1", "kept/b": "1", "artifact": "art", "zlast": "z"})
		chmod(t, p.far, "d/secret", 0)
		chmod(t, p.far, "closed", 0)
		chmod(t, p.far, "kept", 0)
	})
	_, err := p.back()
	wantLeft(t, err, fault.PathsLeft, "closed", "d/secret", "kept")
	want := map[string]string{"artifact": "art", "zlast": "z", "kept/a": "1"}
	if diff := cmp.Diff(want, contents(t, p.near)); diff != "" {
		t.Errorf("here:\n%s", diff)
	}
	noTemp(t, p.near)
	for path, mode := range map[string]os.FileMode{"d/secret": 0o600, "closed": 0o755, "kept": 0o755} {
		chmod(t, p.far, path, mode)
	}
	p.mustBack()
	p.wantEqual()
	// What was synced before stays, too: whether it changed cannot be known. It
	// stands in nobody's way, unless something here is to come to it.
	chmod(t, p.far, "d/secret", 0)
	_, err = p.back()
	wantLeft(t, err, fault.PathsLeft, "d/secret")
	p.mustUp()
	write(t, p.near, map[string]string{"d/secret": "mine", "d/more": "1"})
	_, err = p.up()
	wantLeft(t, err, fault.PathsLeft, "d/secret")
	chmod(t, p.far, "d/secret", 0o600)
	want = map[string]string{"d/secret": "x", "d/more": "1"}
	for _, path := range []string{"d/secret", "d/more"} {
		if got := contents(t, p.far)[path]; got != want[path] {
			t.Errorf("%s there: %q, want %q", path, got, want[path])
		}
	}
}

// TestWhatCannotBeWrittenIsNamed closes folders to us that are somebody else's,
// on either side. Only root can make such.
func TestWhatCannotBeWrittenIsNamed(t *testing.T) {
	if asUser(t) {
		return
	}
	// A folder whose parent lets nobody in is as closed as one of another user.
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1", "d/x": "1", "d/y": "1", "z": "1"})
	p.mustUp()
	write(t, p.near, map[string]string{"a": "2", "d/x": "2", "z": "2"})
	chmod(t, p.far, "d", 0)
	_, err := p.up()
	chmod(t, p.far, "d", 0o755)
	wantLeft(t, err, fault.PathsLeft, "d")
	want := map[string]string{"a": "2", "d/x": "1", "d/y": "1", "z": "2"}
	if diff := cmp.Diff(want, contents(t, p.far)); diff != "" {
		t.Errorf("there:\n%s", diff)
	}
	p.mustUp()
	p.wantEqual()
}

// wantLeft checks that just these paths were left as they are.
func wantLeft(t *testing.T, err error, kind fault.Kind, paths ...string) {
	t.Helper()
	f := asFault(err)
	if f == nil || f.Kind != kind {
		t.Fatalf("got %v, want a fault of kind %s about %q", err, kind, paths)
	}
	var got []string
	for line := range strings.SplitSeq(f.Detail, "\n") {
		path, _, _ := strings.Cut(line, ":")
		got = append(got, path)
	}
	slices.Sort(got)
	if diff := cmp.Diff(paths, got); diff != "" {
		t.Errorf("left (-want +got):\n%s\n%s", diff, f.Detail)
	}
}

func TestFolderThatMayNotBeWrittenThere(t *testing.T) {
	if asUser(t) {
		return
	}
	p := newPair(t)
	write(t, p.near, map[string]string{"a": "1"})
	must(t, os.Chmod(p.far, 0o555))
	t.Cleanup(func() { os.Chmod(p.far, 0o755) })
	p.mustUp() // it is ours, so it is made writable for a while
	p.wantEqual()
	fi, err := os.Stat(p.far)
	must(t, err)
	if fi.Mode().Perm() != 0o555 {
		t.Errorf("mode %o afterwards, want 555", fi.Mode().Perm())
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
