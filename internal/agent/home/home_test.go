//go:build unix

package home

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree reads what is below dir: content, link or "dir", with the mode.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		what := "dir"
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if what, err = os.Readlink(path); err != nil {
				return err
			}
			what = "-> " + what
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what = string(b)
		}
		all[rel] = info.Mode().Perm().String() + " " + what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// clean makes a home as a person has it.
func clean(t *testing.T) Home {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, ".zprofile", "export A=1\n")
	write(t, dir, ".ssh/authorized_keys", "ssh-ed25519 AAAA me\nssh-ed25519 LEASE1 outrigger:mac\n")
	write(t, dir, ".config/fish/config.fish", "set A 1\n")
	if runtime.GOOS == "linux" { // other file systems have no such names
		write(t, dir, ".config/fish/\xfc", "latin")
	}
	write(t, dir, ".config/app/state", "not looked after")
	write(t, dir, "Library/LaunchAgents/mine.plist", "<plist/>")
	write(t, dir, "Documents/large", strings.Repeat("x", maxData*2))
	if err := errors.Join(os.Symlink("dotfiles/bashrc", filepath.Join(dir, ".bashrc")), os.Chmod(filepath.Join(dir, ".ssh"), 0o700),
		os.Chmod(filepath.Join(dir, ".zprofile"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return Home{Dir: dir, File: filepath.Join(t.TempDir(), "home.json")}
}

func TestRestoreMakesTheHomeWhatItWas(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
	}{
		{"nothing", func(string) error { return nil }},
		{"a start file is changed", func(dir string) error { return os.WriteFile(dir+"/.zprofile", []byte("evil"), 0o777) }},
		{"its mode is changed", func(dir string) error { return os.Chmod(dir+"/.zprofile", 0o666) }},
		{"it is removed", func(dir string) error { return os.Remove(dir + "/.zprofile") }},
		{"it becomes a link", func(dir string) error {
			return errors.Join(os.Remove(dir+"/.zprofile"), os.Symlink("/etc/passwd", dir+"/.zprofile"))
		}},
		{"it becomes a folder", func(dir string) error {
			return errors.Join(os.Remove(dir+"/.zprofile"), os.MkdirAll(dir+"/.zprofile/x", 0o755))
		}},
		{"a link becomes a file", func(dir string) error {
			return errors.Join(os.Remove(dir+"/.bashrc"), os.WriteFile(dir+"/.bashrc", []byte("evil"), 0o644))
		}},
		{"others are made", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/.zshenv", []byte("evil"), 0o644), os.WriteFile(dir+"/.netrc", []byte("machine x"), 0o600),
				os.MkdirAll(dir+"/.bashrc.d/deep", 0o755), os.WriteFile(dir+"/.bashrc.d/deep/x", nil, 0o400), os.Chmod(dir+"/.bashrc.d/deep", 0o500))
		}},
		{"a launch agent is added", func(dir string) error { return os.WriteFile(dir+"/Library/LaunchAgents/evil.plist", nil, 0o644) }},
		{"all launch agents are removed", func(dir string) error { return os.RemoveAll(dir + "/Library/LaunchAgents") }},
		{"a user unit is added", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/.config/systemd/user/default.target.wants", 0o755),
				os.Symlink("../evil.service", dir+"/.config/systemd/user/default.target.wants/evil.service"))
		}},
		{"the folder above becomes a link", func(dir string) error {
			return errors.Join(os.Rename(dir+"/.config/fish", dir+"/moved"), os.Symlink(dir+"/moved", dir+"/.config/fish"), os.RemoveAll(dir+"/moved"))
		}},
		{"keys are added", func(dir string) error {
			return os.WriteFile(dir+"/.ssh/authorized_keys", []byte("ssh-ed25519 EVIL me\nssh-ed25519 AAAA me\nssh-ed25519 LEASE1 outrigger:mac\n"), 0o644)
		}},
		{"names that are not UTF-8", func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/.bashrc.d/B\xfccher", 0o755), os.WriteFile(dir+"/.ssh/\xff", nil, 0o600), os.Remove(dir+"/.config/fish/\xfc"))
		}},
		{"SSH has another configuration", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/.ssh/rc", []byte("evil"), 0o755), os.WriteFile(dir+"/.ssh/config", []byte("ProxyCommand evil"), 0o600))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Contains(tt.name, "UTF-8") && runtime.GOOS != "linux" {
				t.Skip("there are no such names")
			}
			h := clean(t)
			want := tree(t, h.Dir)
			digest, err := h.Record(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.spoil(h.Dir); err != nil {
				t.Fatal(err)
			}
			if left := h.Restore(t.Context(), digest); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			if diff := cmp.Diff(want, tree(t, h.Dir)); diff != "" {
				t.Errorf("home (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeyOfTheNextLeaseStays(t *testing.T) {
	h := clean(t)
	digest, err := h.Record(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(h.Dir, keysFile)
	if err := os.WriteFile(file, []byte("ssh-ed25519 EVIL me\nssh-ed25519 LEASE2 outrigger:mac\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if left := h.Restore(t.Context(), digest); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "ssh-ed25519 AAAA me\nssh-ed25519 LEASE2 outrigger:mac\n" {
		t.Errorf("keys are %q, %v", b, err)
	}
}

func TestKeysOfAHomeThatHadNoneAreRemoved(t *testing.T) {
	h := Home{Dir: t.TempDir(), File: filepath.Join(t.TempDir(), "home.json")}
	digest, err := h.Record(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write(t, h.Dir, keysFile, "ssh-ed25519 EVIL me\n")
	if left := h.Restore(t.Context(), digest); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if b, err := os.ReadFile(filepath.Join(h.Dir, keysFile)); err == nil && len(b) > 0 {
		t.Errorf("keys are %q", b)
	}
}

func TestWhatCannotBePutBackIsTold(t *testing.T) {
	h := clean(t)
	write(t, h.Dir, ".ssh/known_hosts", strings.Repeat("x", maxData+1))
	digest, err := h.Record(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write(t, h.Dir, ".ssh/known_hosts", strings.Repeat("y", maxData+1))
	if left := h.Restore(t.Context(), digest); len(left) != 1 || !strings.HasSuffix(left[0].Path, ".ssh/known_hosts") {
		t.Errorf("left: %v, want the large file", left)
	}
	// A tenant is the same user, and may write to the record.
	write(t, filepath.Dir(h.File), "home.json", `{"files":{}}`)
	if left := h.Restore(t.Context(), digest); len(left) != 1 || left[0].Path != h.File {
		t.Errorf("left: %v, want that the record is another", left)
	}
	if _, err := os.Stat(filepath.Join(h.Dir, ".zprofile")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(h.File); err != nil {
		t.Fatal(err)
	}
	if left := h.Restore(t.Context(), digest); len(left) != 1 {
		t.Errorf("left: %v, want that the record is gone", left)
	}
}
