package tree

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// Remove removes a name in the folder. Wine lacks the call by which os.Root
// removes relative to a handle and says so with this error, which Windows does
// not; there the folder's path has to do.
func (d *Folder) Remove(name string) error {
	err := d.Root.Remove(name)
	if errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return os.Remove(filepath.Join(d.Name(), name))
	}
	return err
}
