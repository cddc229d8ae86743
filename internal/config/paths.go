package config

import (
	"path/filepath"
	"runtime"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

// Dirs are the folders that belong to Outrigger here, after the XDG base
// directory specification; on Windows after its known folders.
type Dirs struct {
	Home   string
	Config string // holds config.yaml
	State  string // ledger, workspaces and the providers' files
}

// FindDirs finds the folders from the environment. OUTRIGGER_STATE_DIR moves State.
func FindDirs(getenv func(string) string) (Dirs, error) {
	d := Dirs{Home: getenv("HOME")}
	if runtime.GOOS == "windows" {
		d.Home = getenv("USERPROFILE")
		d.Config = under(getenv("APPDATA"))
		d.State = under(getenv("LOCALAPPDATA"))
	}
	if v := under(getenv("XDG_CONFIG_HOME")); v != "" {
		d.Config = v
	}
	if v := under(getenv("XDG_STATE_HOME")); v != "" {
		d.State = v
	}
	if v := getenv("OUTRIGGER_STATE_DIR"); v != "" {
		abs, err := filepath.Abs(v)
		if err != nil {
			return Dirs{}, fault.New(fault.Config, "OUTRIGGER_STATE_DIR: %w", err)
		}
		d.State = abs
	}
	if !filepath.IsAbs(d.Home) {
		if d.Config == "" || d.State == "" {
			return Dirs{}, fault.New(fault.Config, "the environment names no home folder: HOME is %q, want an absolute path, or XDG_CONFIG_HOME and "+
				"XDG_STATE_HOME", d.Home).WithRemedy("Set HOME to a folder that can be written to, for example: HOME=/tmp/outrigger outrigger …")
		}
		d.Home = ""
	}
	if d.Config == "" {
		d.Config = filepath.Join(d.Home, ".config", "outrigger")
	}
	if d.State == "" {
		d.State = filepath.Join(d.Home, ".local", "state", "outrigger")
	}
	return d, nil
}

// under is our folder in base, "" when base is not absolute: the specification
// says that such a value is to be ignored.
func under(base string) string {
	if !filepath.IsAbs(base) {
		return ""
	}
	return filepath.Join(base, "outrigger")
}

// File returns which file to read: flag, then OUTRIGGER_CONFIG, then config.yaml
// in its folder. explicit tells that the user named it, so it must exist.
func (d Dirs) File(flag string, getenv func(string) string) (path string, explicit bool, err error) {
	for _, named := range []string{flag, getenv("OUTRIGGER_CONFIG")} {
		if named == "" {
			continue
		}
		abs, err := filepath.Abs(named)
		if err != nil {
			return "", true, fault.New(fault.Config, "config: %w", err)
		}
		return abs, true, nil
	}
	return filepath.Join(d.Config, "config.yaml"), false, nil
}

// resolve makes a name in the file absolute: "~/x" is below the home folder,
// anything relative below the file's own folder.
func (c *Config) resolve(name string) string {
	if rest, ok := strings.CutPrefix(filepath.ToSlash(name), "~/"); ok && c.home != "" {
		return filepath.Join(c.home, rest)
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir(), name)
}
