package ignorefile_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/ignore"
	"outrigger.dev/outrigger/internal/worksync/ignorefile"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) (ignorefile.File, error) {
	t.Helper()
	root, err := tree.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	return ignorefile.Read(root)
}

func link(t *testing.T, target, dir, name string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
	must(t, os.Symlink(target, filepath.Join(dir, name)))
}

func file(t *testing.T, dir, name, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
}

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name  string
		make  func(*testing.T, string)
		paths []string
	}{
		{"a file", func(t *testing.T, dir string) { file(t, dir, ignore.FileName, "*.o\r\n!x\n") }, []string{ignore.FileName}},
		{"a link to another file", func(t *testing.T, dir string) {
			file(t, dir, ".gitignore", "*.o\n!x\n")
			link(t, ".gitignore", dir, ignore.FileName)
		}, []string{ignore.FileName, ".gitignore"}},
		{"links through folders and back up", func(t *testing.T, dir string) {
			file(t, dir, "ci/lists/real", "*.o\n!x\n")
			link(t, "ci", dir, "conf")
			link(t, "./lists/../lists//real", dir, "ci/list")
			link(t, "conf/list", dir, ignore.FileName)
		}, []string{ignore.FileName, "conf", "ci/list", "ci/lists/real"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.make(t, dir)
			f, err := read(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(f.Patterns, []string{"*.o", "!x", ""}) {
				t.Errorf("patterns %q", f.Patterns)
			}
			if !slices.Equal(f.Paths, tt.paths) {
				t.Errorf("paths %q, want %q", f.Paths, tt.paths)
			}
		})
	}
	if f, err := read(t, t.TempDir()); err != nil || f.Patterns != nil || f.Paths != nil {
		t.Errorf("without a file: %v, %v", f, err)
	}
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(outside, []byte("x"), 0o644))
	for _, tt := range []struct {
		name string
		make func(*testing.T, string)
		want fault.Kind
		text string
	}{
		{"a dangling link", func(t *testing.T, dir string) { link(t, "nowhere", dir, ignore.FileName) }, fault.LocalFile, "nowhere"},
		{"a link to itself", func(t *testing.T, dir string) { link(t, ignore.FileName, dir, ignore.FileName) }, fault.LocalFile, "links"},
		{"an absolute link", func(t *testing.T, dir string) { link(t, outside, dir, ignore.FileName) }, fault.LocalFile, "within the folder"},
		{"a link out", func(t *testing.T, dir string) {
			link(t, "sub/../../secret", dir, ignore.FileName)
			must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
		}, fault.LocalFile, "out of the folder"},
		{"a link to zeros without end", func(t *testing.T, dir string) { link(t, "/dev/zero", dir, ignore.FileName) }, fault.LocalFile, "within the folder"},
		{"a link through a file", func(t *testing.T, dir string) { file(t, dir, "f", ""); link(t, "f/x", dir, ignore.FileName) }, fault.LocalFile, "regular"},
		{"a folder", func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, ignore.FileName), 0o755)) }, fault.LocalFile, "regular"},
		{"a link to the folder", func(t *testing.T, dir string) { link(t, ".", dir, ignore.FileName) }, fault.LocalFile, "regular"},
		{"too large", func(t *testing.T, dir string) {
			file(t, dir, ignore.FileName, "")
			must(t, os.Truncate(filepath.Join(dir, ignore.FileName), 1<<40)) // sparse: must not be read to its end
		}, fault.Usage, "512 KiB"},
		{"UTF-16", func(t *testing.T, dir string) { file(t, dir, ignore.FileName, "\xff\xfe.\x00e\x00n\x00v\x00") }, fault.Usage, "plain text"},
		{"a pattern without end", func(t *testing.T, dir string) { file(t, dir, ignore.FileName, strings.Repeat("x", 5000)) }, fault.Usage, "pattern 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.Contains(tt.name, "zeros") {
				return
			}
			dir := t.TempDir()
			tt.make(t, dir)
			f, err := read(t, dir)
			if !fault.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), ignore.FileName) {
				t.Errorf("got %v, %v; want a fault of kind %v that says %q", f, err, tt.want, tt.text)
			}
		})
	}
}
