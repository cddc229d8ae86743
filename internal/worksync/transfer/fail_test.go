package transfer_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	write(t, p.near, map[string]string{"a": "1", "d/secret": "x"})
	chmod(t, p.near, "d/secret", 0)
	_, err := p.up()
	if !fault.Is(err, fault.LocalFile) || !strings.Contains(err.Error(), "d/secret") {
		t.Errorf("got %v, want d/secret named", err)
	}
	chmod(t, p.near, "d/secret", 0o600)
	chmod(t, p.near, "d", 0o300)
	_, err = p.up()
	if !fault.Is(err, fault.LocalFile) || !strings.Contains(err.Error(), " d:") {
		t.Errorf("got %v, want d named", err)
	}
	chmod(t, p.near, "d", 0o700)
	p.mustUp()
	p.wantEqual()
}

func TestUnreadableFileThereIsNamed(t *testing.T) {
	if asUser(t) {
		return
	}
	p := newPair(t)
	p.mustUp()
	write(t, p.far, map[string]string{"d/secret": "x"})
	chmod(t, p.far, "d/secret", 0)
	_, err := p.back()
	if !fault.Is(err, fault.RemoteFile) || !strings.Contains(err.Error(), "d/secret") {
		t.Errorf("got %v, want d/secret named", err)
	}
	noTemp(t, p.near)
	// So is one that was synced before: whether it changed cannot be known.
	chmod(t, p.far, "d/secret", 0o600)
	p.mustBack()
	chmod(t, p.far, "d/secret", 0)
	_, err = p.back()
	if !fault.Is(err, fault.RemoteFile) || !strings.Contains(err.Error(), "d/secret") {
		t.Errorf("got %v, want d/secret named", err)
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
