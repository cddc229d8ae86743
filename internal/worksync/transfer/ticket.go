package transfer

import (
	"errors"
	"os"
	"path/filepath"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/baseline"
)

// A ticket tells whether this is still the last session of its folder. The
// process of a connection that broke may not have noticed yet, and must not
// write any more once another session has begun.
type ticket struct{ file, id string }

func draw(dir string) (ticket, error) {
	t := ticket{filepath.Join(dir, "session"), baseline.NewID().String()}
	tmp := t.file + "." + t.id
	if err := os.WriteFile(tmp, []byte(t.id), 0o600); err != nil {
		return t, err
	}
	if err := os.Rename(tmp, t.file); err != nil {
		return t, errors.Join(err, os.Remove(tmp))
	}
	return t, nil
}

func (t ticket) check() error {
	b, err := os.ReadFile(t.file)
	if err != nil {
		return err
	}
	if string(b) != t.id {
		return fault.New(fault.Busy, "sync: another session of this folder has begun")
	}
	return nil
}
