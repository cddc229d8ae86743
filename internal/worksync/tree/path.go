package tree

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// MaxPath bounds a path and a link's target; Linux's PATH_MAX.
const MaxPath = 4096

// ErrPath is a path that no honest other side sends.
var ErrPath = errors.New("path is not fit to be used")

// CheckPath refuses a path that could lead anywhere but to a place below the
// root, that this system would read differently from how it is written, or
// that is one of our own temporary files.
func CheckPath(path string) error {
	if path == "" || len(path) > MaxPath {
		return fmt.Errorf("%w: %d bytes long", ErrPath, len(path))
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || strings.IndexByte(name, 0) >= 0 || IsTemp(name) {
			return fmt.Errorf("%w: %q", ErrPath, path)
		}
	}
	if runtime.GOOS == "windows" && !windowsCanHold(path) {
		return fmt.Errorf("%w: %q", ErrPath, path)
	}
	return nil
}

// windowsCanHold is the part that only Windows needs: its other separator,
// drives and alternate streams, and the device names it finds in any folder.
func windowsCanHold(path string) bool {
	if strings.ContainsAny(path, `\:`) {
		return false
	}
	for name := range strings.SplitSeq(path, "/") {
		if strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") || !filepath.IsLocal(name) {
			return false
		}
	}
	return true
}
