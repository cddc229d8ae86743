package build

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/imagebuild"
)

// readFiles reads what a --file names. Of modes counts only whether a file is executable, as
// for git: else two checkouts of one repository would make two images.
func readFiles(flag string) ([]imagebuild.File, error) {
	src, dst, ok := splitFile(flag)
	if !ok {
		return nil, fault.New(fault.Usage, "image build: --file %q: want SRC:DST, where DST begins with / or ~/", flag)
	}
	info, err := os.Stat(src)
	if err != nil {
		return nil, fault.New(fault.LocalFile, "image build: --file: %w", err)
	}
	if strings.HasSuffix(dst, "/") {
		abs, err := filepath.Abs(src)
		if err != nil {
			return nil, fault.New(fault.LocalFile, "image build: --file: %w", err)
		}
		dst += filepath.Base(abs)
	}
	if !info.IsDir() {
		f, err := readFile(src, dst)
		return []imagebuild.File{f}, err
	}
	root, err := filepath.EvalSymlinks(src) // a walk from a link would look at the link only
	if err != nil {
		return nil, fault.New(fault.LocalFile, "image build: --file: %w", err)
	}
	var files []imagebuild.File
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, err := readFile(name, path.Join(dst, filepath.ToSlash(rel)))
		files = append(files, f)
		return err
	})
	var f *fault.Error
	if err != nil && !errors.As(err, &f) {
		err = fault.New(fault.LocalFile, "image build: --file: %w", err)
	}
	return files, err
}

// splitFile parts SRC and DST where DST is an absolute path; SRC may hold colons.
func splitFile(flag string) (src, dst string, ok bool) {
	for i := 1; i < len(flag); i++ {
		rest := flag[i:]
		if flag[i] != ':' || i == 1 && strings.HasPrefix(rest, `:\`) {
			continue
		}
		rest = rest[1:]
		if strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "~/") || len(rest) > 2 && rest[1:3] == ":/" {
			return flag[:i], rest, true
		}
	}
	return "", "", false
}

// readFile reads one file; a link is followed.
func readFile(name, dst string) (imagebuild.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return imagebuild.File{}, fault.New(fault.LocalFile, "image build: --file: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return imagebuild.File{}, fault.New(fault.LocalFile, "image build: --file: %s: want a file, found a link to a folder or something special", name)
	case info.Size() > imagebuild.MaxFiles:
		return imagebuild.File{}, fault.New(fault.Usage, "image build: --file: %s: has %d bytes, want at most %d", name, info.Size(), imagebuild.MaxFiles).
			WithRemedy("Have the script fetch it.")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return imagebuild.File{}, fault.New(fault.LocalFile, "image build: --file: %w", err)
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	return imagebuild.File{Path: dst, Mode: mode, Content: b}, nil
}
