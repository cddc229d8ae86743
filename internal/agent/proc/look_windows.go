package proc

import (
	"os"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

func sameKey(a, b string) bool { return strings.EqualFold(a, b) }

func foldKey(k string) string { return strings.ToUpper(k) }

// Look finds the program that name means to a process in dir with env, as
// cmd.exe does but for the working directory, which is not searched. Faults:
// NotFound, NotExecutable.
func Look(name, dir string, env []string) (string, error) {
	exts := strings.Split(strings.ToLower(Getenv(env, "PATHEXT")), ";")
	if len(exts) == 1 && exts[0] == "" {
		exts = []string{".com", ".exe", ".bat", ".cmd"}
	}
	if strings.ContainsAny(name, `/\:`) {
		path := filepath.FromSlash(name)
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if p := withExt(path, exts); p != "" {
			return p, nil
		}
		if _, err := os.Stat(path); err == nil {
			return "", fault.New(fault.NotExecutable, "command %q: Windows executes %s only", name, strings.Join(exts, " "))
		}
		return "", fault.New(fault.NotFound, "command %q: no such file on the machine", name)
	}
	path := Getenv(env, "PATH")
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) || name == "" {
			continue
		}
		if p := withExt(filepath.Join(d, name), exts); p != "" {
			return p, nil
		}
	}
	return "", fault.New(fault.NotFound, "command %q: not found in the machine's PATH", name).WithDetail("PATH=" + path)
}

// withExt returns path, with an extension added if it needs one, or "".
func withExt(path string, exts []string) string {
	own := strings.ToLower(filepath.Ext(path))
	for _, e := range exts {
		p := path + e
		if e == own && e != "" {
			p = path
		}
		if info, err := os.Stat(p); err == nil && !info.IsDir() && strings.TrimSpace(e) != "" {
			return p
		}
	}
	return ""
}
