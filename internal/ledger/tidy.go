package ledger

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/machine"
)

// tempAge is how old a temporary file must be before it counts as left by a
// killed process: writing a record takes milliseconds.
const tempAge = time.Hour

// Tidy removes what processes killed inside this package left: temporary files
// and locks without a record.
func (l *Ledger) Tidy(now time.Time) error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // gone since the listing
		}
		name, isLock := strings.CutSuffix(e.Name(), ".lock")
		switch {
		case strings.HasPrefix(e.Name(), ".tmp-"):
			if now.Sub(info.ModTime()) > tempAge {
				if err := os.Remove(filepath.Join(l.dir, e.Name())); err != nil {
					return err
				}
			}
		case isLock:
			l.tidyLock(machine.Name(name))
		}
	}
	return nil
}

// tidyLock removes a lock that nobody holds and that has no record.
func (l *Ledger) tidyLock(name machine.Name) {
	if _, err := os.Stat(l.file(name)); err == nil {
		return
	}
	lock, err := l.lock(name, false)
	if err != nil {
		return // held: somebody is about to write the record
	}
	if _, err := os.Stat(l.file(name)); err == nil {
		_ = lock.Unlock() // the record came meanwhile; closing a lock has nothing to report
		return
	}
	l.dropLock(name, lock)
}
