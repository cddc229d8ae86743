package transfer_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// TestAFolderOfSomebodyElse brings files into a folder that is root's and open to all, as an ordinary user,
// who may set neither its mode nor its time. That its mode is right is known by looking.
func TestAFolderOfSomebodyElse(t *testing.T) {
	if asUser(t, func(tmp string) error {
		theirs := filepath.Join(tmp, "theirs")
		if err := os.Mkdir(theirs, 0o755); err != nil {
			return err
		}
		return os.Chmod(theirs, 0o777) // the umask does not count
	}) {
		return
	}
	p := newPair(t)
	err := os.Rename(filepath.Join(os.TempDir(), "theirs"), filepath.Join(p.near, "theirs"))
	if os.IsNotExist(err) {
		t.Skip("only root can make a folder of somebody else's")
	}
	must(t, err)
	p.mustUp()
	write(t, p.far, map[string]string{"theirs/new": "1", "own": "1"})
	p.mustBack()
	if got := contents(t, p.near); got["theirs/new"] != "1" || got["own"] != "1" {
		t.Errorf("here: %v", got)
	}

	// With a new time alone there is nothing to be done, and nothing to be told.
	must(t, os.Chtimes(filepath.Join(p.far, "theirs"), time.Time{}, time.Unix(1e9, 0)))
	p.mustBack()

	// Another mode cannot be had: that is told, and the rest comes.
	must(t, os.Chmod(filepath.Join(p.far, "theirs"), 0o700))
	write(t, p.far, map[string]string{"theirs/more": "2", "own": "2"})
	_, err = p.back()
	wantLeft(t, err, fault.PathsLeft, "theirs")
	if got := contents(t, p.near); got["theirs/more"] != "2" || got["own"] != "2" {
		t.Errorf("here: %v", got)
	}
}

// TestHolesStayHoles brings back the image of a disk that is mostly empty.
func TestHolesStayHoles(t *testing.T) {
	p := newPair(t)
	p.mustUp()
	image, empty := filepath.Join(p.far, "image"), filepath.Join(p.far, "empty")
	write(t, p.far, map[string]string{"image": "head", "empty": ""})
	must(t, os.Truncate(image, 64<<20))
	f, err := os.OpenFile(image, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("tail")
	must(t, err)
	must(t, f.Close())
	must(t, os.Truncate(empty, 32<<20))
	p.mustBack()
	p.wantEqual()
	for _, name := range []string{"image", "empty"} {
		fi, err := os.Stat(filepath.Join(p.near, name))
		must(t, err)
		if took := fi.Sys().(*syscall.Stat_t).Blocks * 512; took > 8<<20 {
			t.Errorf("%s of %d bytes takes %d here", name, fi.Size(), took)
		}
	}
}
