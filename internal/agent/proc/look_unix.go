//go:build unix

package proc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"outrigger.dev/outrigger/internal/fault"
)

func sameKey(a, b string) bool { return a == b }

func foldKey(k string) string { return k }

// Look finds the program that name means to a process in dir with env. Faults:
// NotFound, NotExecutable.
func Look(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return path, executable(name, path)
	}
	if name == "" {
		return "", fault.New(fault.NotFound, "command \"\": empty name")
	}
	path := Getenv(env, "PATH")
	var denied error
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d) // POSIX: an empty element is the working directory
		}
		p := filepath.Join(d, name)
		err := executable(name, p)
		if err == nil {
			return p, nil
		}
		if fault.Is(err, fault.NotExecutable) && denied == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fault.New(fault.NotFound, "command %q: not found in the machine's PATH", name).WithDetail("PATH=" + path)
}

func executable(name, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return fault.New(fault.NotFound, "command %q: no such file on the machine", name)
	case err != nil:
		return fault.New(fault.NotExecutable, "command %q: %w", name, err)
	case info.IsDir():
		return fault.New(fault.NotExecutable, "command %q: %s is a folder", name, path)
	case unix.Access(path, unix.X_OK) != nil:
		return fault.New(fault.NotExecutable, "command %q: %s has mode %s", name, path, info.Mode())
	}
	return nil
}
