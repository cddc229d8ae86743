package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Tidy removes what processes killed inside this package left: files on their
// way to their real name, and locks without a record. What is held is left alone.
func (l *Ledger) Tidy() error {
	entries, err := os.ReadDir(l.machines.dir)
	if err != nil {
		return stateFault("ledger: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ownerTemp) {
			// Its writer, if it lives, tries again.
			errs = append(errs, remove(filepath.Join(l.machines.dir, e.Name())))
		}
	}
	return errors.Join(append(errs, l.machines.tidy(), l.runs.tidy())...)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return stateFault("ledger: %w", err)
	}
	return nil
}
