//go:build unix

package transfer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/worksync/transfer"
)

var long = time.Date(2020, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

// age gives folders a time, contents before their folders.
func age(t *testing.T, root string, when time.Time, dirs ...string) {
	t.Helper()
	for _, d := range dirs {
		if err := os.Chtimes(filepath.Join(root, d), when, when); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *pair) wantTime(root, dir string, want time.Time) {
	p.t.Helper()
	fi, err := os.Stat(filepath.Join(root, dir))
	if err != nil {
		p.t.Fatal(err)
	}
	if !fi.ModTime().Equal(want) {
		p.t.Errorf("%s in %s has time %v, want %v", dir, filepath.Base(root), fi.ModTime().UTC(), want)
	}
}

// wantQuiet says that a sync each way finds nothing to do, in one round trip.
func (p *pair) wantQuiet(what string) {
	p.t.Helper()
	for name, sync := range map[string]func() transfer.Report{"up": p.mustUp, "back": p.mustBack} {
		rep := sync()
		if rep.Files+rep.Folders+rep.Links+rep.Deleted+rep.Touched != 0 || rep.Sent > 200 {
			p.t.Errorf("after %s, %s is not quiet: %+v", what, name, rep)
		}
	}
}

func TestFoldersKeepTheirTimesBothWays(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a/b/c": "1", "a/d/": "", "e/f": "1"})
	age(t, p.near, long, "a/b", "a/d", "a", "e")
	p.mustUp()
	for _, dir := range []string{"a", "a/b", "a/d", "e"} {
		p.wantTime(p.far, dir, long)
	}
	p.wantQuiet("the first sync")

	// What is only written to does not move a folder's time on the other side.
	write(t, p.far, map[string]string{"a/b/c": "22"})
	age(t, p.far, long, "a/b")
	p.mustBack()
	p.wantTime(p.near, "a/b", long)
	p.wantQuiet("a file's change")

	// What moves it there moves it here.
	write(t, p.far, map[string]string{"a/new": "1", "n/m/": ""})
	later := long.Add(time.Hour)
	age(t, p.far, later, "a", "n/m", "n")
	rep := p.mustBack()
	p.wantTime(p.near, "a", later)
	p.wantTime(p.near, "n/m", later)
	p.wantTime(p.near, "n", later)
	p.wantTime(p.near, "a/b", long)
	if rep.Touched != 0 {
		t.Errorf("%d touched, want none: only folders' times moved", rep.Touched)
	}
	p.wantQuiet("new files")

	if err := os.Remove(filepath.Join(p.near, "e", "f")); err != nil {
		t.Fatal(err)
	}
	age(t, p.near, later, "e")
	p.mustUp()
	p.wantTime(p.far, "e", later)
	p.wantQuiet("a deletion")
}

func TestFoldersTimesNeverConflict(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a/b": "1", "gone/": ""})
	p.mustUp()
	write(t, p.near, map[string]string{"a/near": "1"})
	age(t, p.near, long, "a", "gone")
	write(t, p.far, map[string]string{"a/far": "1"})
	age(t, p.far, long.Add(time.Hour), "a")
	if err := os.Remove(filepath.Join(p.far, "gone")); err != nil {
		t.Fatal(err)
	}
	p.mustBack()
	p.wantTime(p.near, "a", long)
	if _, err := os.Stat(filepath.Join(p.near, "gone")); err == nil {
		t.Error("a folder's time saved it from deletion")
	}
	p.mustUp()
	p.wantTime(p.far, "a", long)
	p.wantEqual()
	p.wantQuiet("a merge")
}

// A folder that may not be written to is opened for us, closed again, and has
// its time.
func TestClosedFolderKeepsItsTime(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"a/b": "1"})
	p.mustUp()
	for _, root := range []string{p.near, p.far} {
		if err := os.Chmod(filepath.Join(root, "a"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, p.far, map[string]string{"a/c": "1"})
	age(t, p.far, long, "a")
	if err := os.Chmod(filepath.Join(p.far, "a"), 0o555); err != nil {
		t.Fatal(err)
	}
	p.mustBack()
	p.wantTime(p.near, "a", long)
	p.wantEqual()
	p.wantQuiet("a closed folder")
}

func TestSpecialBitsAreCarried(t *testing.T) {
	p := newPair(t)
	write(t, p.near, map[string]string{"su": "1", "shared/": "", "tmp/x": "1"})
	set := func(root, name string, mode os.FileMode) {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	want := func(root, name string, mode os.FileMode) {
		t.Helper()
		fi, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode() &^ os.ModeDir; got != mode {
			t.Errorf("%s is %v, want %v", name, got, mode)
		}
	}
	set(p.near, "su", 0o755|os.ModeSetuid|os.ModeSetgid)
	set(p.near, "shared", 0o775|os.ModeSetgid)
	set(p.near, "tmp", 0o777|os.ModeSticky)
	p.mustUp()
	want(p.far, "su", 0o755|os.ModeSetuid|os.ModeSetgid)
	want(p.far, "shared", 0o775|os.ModeSetgid)
	want(p.far, "tmp", 0o777|os.ModeSticky)
	p.wantQuiet("a sync of special bits")

	// On the way back those of files are dropped, loudly; in Pods they are not.
	write(t, p.far, map[string]string{"evil": "1", "mine": "1", "box/": ""})
	set(p.far, "evil", 0o755|os.ModeSetuid)
	set(p.far, "box", 0o755|os.ModeSetgid|os.ModeSticky)
	rep := p.mustBack()
	want(p.near, "evil", 0o755)
	want(p.near, "su", 0o755|os.ModeSetuid|os.ModeSetgid)
	want(p.near, "box", 0o755|os.ModeSetgid|os.ModeSticky)
	if said := strings.Join(rep.Warnings, "\n"); !strings.Contains(said, `"evil"`) || strings.Contains(said, `"su"`) {
		t.Errorf("warnings %q", said)
	}
	p.wantQuiet("a sync that dropped a bit")

	// What the machine changed loses the bits that this side had given it.
	write(t, p.far, map[string]string{"su": "evil"})
	set(p.far, "su", 0o755|os.ModeSetuid|os.ModeSetgid)
	p.mustBack()
	want(p.near, "su", 0o755)

	p.takeSetID = true
	set(p.far, "mine", 0o755|os.ModeSetuid)
	if rep := p.mustBack(); len(rep.Warnings) != 0 {
		t.Errorf("warnings %q", rep.Warnings)
	}
	want(p.near, "mine", 0o755|os.ModeSetuid)
}
