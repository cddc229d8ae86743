package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// Tidy removes what processes killed inside this package left: files on their
// way to their real name, and locks without a record. What is held is left alone.
func (l *Ledger) Tidy() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return fault.New(fault.LocalFile, "ledger: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name, isLock := strings.CutSuffix(e.Name(), ".lock")
		switch {
		case strings.HasPrefix(e.Name(), ownerTemp):
			// Its writer, if it lives, tries again.
			errs = append(errs, remove(filepath.Join(l.dir, e.Name())))
		case isLock:
			errs = append(errs, l.tidyName(machine.Name(name)))
		}
	}
	return errors.Join(errs...)
}

// tidyName looks after a name that nobody holds.
func (l *Ledger) tidyName(name machine.Name) error {
	lock, err := l.lock(name, false)
	if fault.Is(err, fault.Busy) {
		return nil
	}
	if err != nil {
		return err
	}
	err = remove(l.tempFile(name))
	if _, serr := os.Stat(l.file(name)); errors.Is(serr, fs.ErrNotExist) {
		l.dropLock(name, lock)
		return err
	}
	return errors.Join(err, lock.Unlock())
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.LocalFile, "ledger: %w", err)
	}
	return nil
}
