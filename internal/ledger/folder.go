package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/fault"
)

// A folder holds records, each in a file NAME.json with a lock, NAME.lock, beside it.
type folder struct{ dir string }

func (f folder) file(name string) string { return filepath.Join(f.dir, name+".json") }

func (f folder) tempFile(name string) string { return filepath.Join(f.dir, name+".tmp") }

func (f folder) lockFile(name string) string { return filepath.Join(f.dir, name+".lock") }

// names lists the records.
func (f folder) names() ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, stateFault("ledger: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// read reads a record into rec. One that is not there is [fs.ErrNotExist].
func (f folder) read(name string, rec any) error {
	b, err := os.ReadFile(f.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		if err = json.Unmarshal(b, rec); err != nil {
			err = fmt.Errorf("%s: %w", f.file(name), err)
		}
	}
	if err != nil {
		return stateFault("ledger: %w", err)
	}
	return nil
}

// write writes a record for good. Only who holds it writes it, so the temporary name is nobody
// else's, and what a killed holder left is known to be left.
func (f folder) write(name string, rec any) error {
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	tmp := f.tempFile(name)
	if err := writeSynced(tmp, append(b, '\n')); err != nil {
		return err
	}
	if err := os.Rename(tmp, f.file(name)); err != nil {
		os.Remove(tmp)
		return stateFault("ledger: %w", err)
	}
	return nil
}

// lock takes the lock of a name without waiting: nil means that somebody else holds it. The file
// may be removed by its holder between our opening and our locking it; then the lock is on a file
// that nobody else can see, and we try again.
func (f folder) lock(name string, shared bool) (*flock.Flock, error) {
	for {
		lock := flock.New(f.lockFile(name), flock.SetPermissions(0o600))
		try := lock.TryLock
		if shared {
			try = lock.TryRLock
		}
		ok, err := try()
		if err != nil {
			return nil, stateFault("ledger: lock %s: %w", name, err)
		}
		if !ok {
			return nil, nil
		}
		same, err := f.sameFile(lock, name)
		if err != nil {
			return nil, errors.Join(err, lock.Unlock())
		}
		if same {
			return lock, nil
		}
		lock.Unlock()
	}
}

func (f folder) sameFile(lock *flock.Flock, name string) (bool, error) {
	held, err := lock.Stat()
	if err != nil {
		return false, stateFault("ledger: lock %s: %w", name, err)
	}
	named, err := os.Stat(f.lockFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, stateFault("ledger: lock %s: %w", name, err)
	}
	return os.SameFile(held, named), nil
}

// remove removes a record that is held, and its lock.
func (f folder) remove(name string, lock *flock.Flock) error {
	if err := os.Remove(f.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return stateFault("ledger: %w", err)
	}
	f.dropLock(name, lock)
	return nil
}

// dropLock removes the lock's file while the lock is still held, so that
// nobody can lock a file that is about to go without noticing. Windows cannot
// remove an open file; there the file goes just after.
func (f folder) dropLock(name string, lock *flock.Flock) {
	errBefore := os.Remove(f.lockFile(name))
	lock.Unlock()
	if errBefore != nil {
		os.Remove(f.lockFile(name))
	}
}

// tidy removes what a process killed in here left of names that nobody holds: files on their way to
// their real name, and locks without a record.
func (f folder) tidy() error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return stateFault("ledger: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if name, isLock := strings.CutSuffix(e.Name(), ".lock"); isLock {
			errs = append(errs, f.tidyName(name))
		}
	}
	return errors.Join(errs...)
}

func (f folder) tidyName(name string) error {
	lock, err := f.lock(name, false)
	if err != nil || lock == nil {
		return err
	}
	err = remove(f.tempFile(name))
	if _, serr := os.Stat(f.file(name)); errors.Is(serr, fs.ErrNotExist) {
		f.dropLock(name, lock)
		return err
	}
	return errors.Join(err, lock.Unlock())
}

// writeSynced puts b on the disk for good.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return stateFault("ledger: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return stateFault("ledger: %w", err)
	}
	return nil
}

// elsewhere is what can be done about our own files here, which no flag leaves out.
const elsewhere = "have HOME, XDG_STATE_HOME or OUTRIGGER_STATE_DIR name "

// stateFault is what the disk says of our own files here.
func stateFault(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.DiskFull, "%w", err).WithRemedy("Free some space there, or %sa folder on another disk.", elsewhere)
	}
	return fault.New(fault.LocalFile, "%w", err).WithRemedy("Mend its permissions, or %sa folder that can be written to.", elsewhere)
}
