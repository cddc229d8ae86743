package run

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/config"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/worksync/ignore"
	"outrigger.dev/outrigger/internal/worksync/ignorefile"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// maxScript bounds a script, in bytes: it is sent in one message.
const maxScript = 512 << 10

// A prepared run has nothing left in it that is known to be wrong.
type prepared struct {
	Options
	existing machine.Name // the machine of --on that stays; "" for a fresh one
	dir      string       // absolute folder to sync, "" for none
	exclude  []string
	env      []string
	script   []byte
	stdin    bool // whether standard input is the command's
	dirs     config.Dirs
	expires  time.Duration
	retain   time.Duration // how long results that are not all here are kept on the machine
}

func prepare(a *app.App, o Options) (*prepared, error) {
	cfg, err := a.Config()
	if err != nil {
		return nil, err
	}
	p := &prepared{Options: o, stdin: true, expires: cfg.Run.Expires, retain: cfg.Run.Retain}
	if p.dirs, err = a.Dirs(); err != nil {
		return nil, err
	}
	p.defaults(cfg.Run)
	for _, check := range []func() error{
		p.checkDurations,
		func() error { return p.checkCommand(a.IO.In) },
		func() error { return p.checkDir(p.dirs.Home) },
		func() error { return p.checkExclude(cfg.Run.Exclude) },
		func() error { return p.checkEnv(cfg.Run.Env, a.IO.Environ) },
		p.checkConflict,
		p.checkPaths,
		func() error { return p.checkMachine(a, cfg) },
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *prepared) defaults(r config.Run) {
	for _, d := range []struct {
		flag     string
		to, from *time.Duration
	}{{"timeout", &p.Timeout, &r.Timeout}, {"absence", &p.Absence, &r.Absence}, {"boot-timeout", &p.BootTimeout, &r.BootTimeout}} {
		if !p.changed(d.flag) {
			*d.to = *d.from
		}
	}
	if p.Image == "" {
		p.Image = r.Image
	}
	if p.At == "" {
		p.At = r.At
	}
	if p.Conflict == "" {
		p.Conflict = r.Conflict
	}
}

// conflicts are the answers to a file that both sides have changed.
var conflicts = map[string]plan.Prefer{"": plan.Neither, "fail": plan.Neither, "here": plan.Near, "there": plan.Far,
	"keep-both": plan.Both}

// Prefer is what a value of --conflict says.
func Prefer(conflict string) plan.Prefer { return conflicts[conflict] }

func (p *prepared) checkConflict() error {
	if _, ok := conflicts[p.Conflict]; !ok {
		return fault.New(fault.Usage, "run: --conflict %q: want fail, keep-both, here or there", p.Conflict)
	}
	return nil
}

func (p *prepared) checkDurations() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
		min   time.Duration
	}{{"timeout", p.Timeout, 0}, {"absence", p.Absence, time.Second}, {"boot-timeout", p.BootTimeout, time.Second}} {
		if d.value < d.min {
			return fault.New(fault.Usage, "run: --%s %s: want at least %s", d.flag, d.value, d.min)
		}
	}
	if p.retain < time.Second || p.expires < 0 {
		return fault.New(fault.Config, "run: retain %s, expires %s: want at least 1s, and 0 or more", p.retain, p.expires)
	}
	return nil
}

func (p *prepared) checkCommand(stdin io.Reader) error {
	switch {
	case p.Script == "" && len(p.Argv) == 0:
		return fault.New(fault.Usage, "run: no command: want one behind --, or --script FILE").
			WithRemedy("For example: outrigger run -- make test")
	case p.Script == "":
		if p.Argv[0] == "" {
			return fault.New(fault.Usage, "run: the command is empty")
		}
		return nil
	}
	name := p.Script
	in := stdin
	if name == "-" {
		name = "standard input"
		p.stdin = false
	} else {
		f, err := os.Open(name)
		if err != nil {
			return fault.New(fault.LocalFile, "run: --script: %w", err).WithRemedy("Give the path of a file that can be read, or - for standard input.")
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxScript+1))
	switch {
	case err != nil:
		return fault.New(fault.LocalFile, "run: --script %s: %w", name, err)
	case len(b) > maxScript:
		return fault.New(fault.Usage, "run: --script %s: larger than %d KiB", name, maxScript>>10).
			WithRemedy("Put it into the folder that is copied, and run it from there.")
	case !bytes.HasPrefix(b, []byte("#!")):
		line, _, _ := strings.Cut(string(b), "\n")
		return fault.New(fault.BadScript, "run: --script %s: its first line is %.60q, want an interpreter line", name, strings.TrimRight(line, "\r")).
			WithRemedy("Start it with a line such as #!/bin/sh, or on Windows #!win powershell.exe -File")
	}
	p.script = b
	return nil
}

func (p *prepared) checkDir(home string) error {
	if p.NoSync {
		if p.changed("sync") {
			return fault.New(fault.Usage, "run: --sync and --no-sync: want one of them")
		}
		return nil
	}
	dir, err := filepath.Abs(p.Sync)
	if err != nil {
		return fault.New(fault.LocalFile, "run: --sync: the current folder does not exist any more: %w", err).
			WithRemedy("Go to a folder that exists, or say --sync with an absolute path, or --no-sync.")
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return fault.New(fault.LocalFile, "run: --sync %s: %w", p.Sync, errors.Unwrap(err)).WithRemedy("Give a folder that exists, or --no-sync to copy none.")
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fault.New(fault.LocalFile, "run: --sync: %w", err)
	}
	if !info.IsDir() {
		return fault.New(fault.LocalFile, "run: --sync %s: is a file, want a folder", p.Sync)
	}
	// Nobody means to copy a whole computer or all that they own by having
	// forgotten to change folders.
	if realHome, err := filepath.EvalSymlinks(home); !p.changed("sync") && (dir == filepath.Dir(dir) || err == nil && dir == realHome) {
		return fault.New(fault.Usage, "run: this would copy all of %s to the machine", dir).
			WithRemedy("Go to the project's folder, or say --no-sync, or --sync . if you mean it.")
	}
	if rel, err := filepath.Rel(dir, p.dirs.State); err == nil && filepath.IsLocal(rel) {
		// Machines' own folders and baselines change while we copy.
		p.exclude = append(p.exclude, "/"+escapePattern(filepath.ToSlash(rel)))
	}
	p.dir = dir
	return nil
}

func (p *prepared) checkExclude(configured []string) error {
	for _, from := range []struct {
		name     string
		patterns []string
	}{{"configuration: run.exclude", configured}, {"run: --exclude", p.Exclude}} {
		if _, err := ignore.Parse(from.patterns); err != nil {
			return fault.New(fault.Usage, "%s: %w", from.name, err)
		}
	}
	if err := p.checkIgnoreFile(); err != nil {
		return err
	}
	// The last pattern that matches counts, so what is nearer to the user comes later.
	p.exclude = append(append(append([]string(nil), configured...), p.Exclude...), p.exclude...)
	return nil
}

// checkIgnoreFile reads what the sync itself will read, for the mistakes in it.
func (p *prepared) checkIgnoreFile() error {
	if p.dir == "" {
		return nil
	}
	root, err := tree.OpenRoot(p.dir)
	if err != nil {
		return fault.New(fault.LocalFile, "run: --sync: %w", err)
	}
	defer root.Close()
	_, err = ignorefile.Read(root)
	return err
}

func (p *prepared) checkEnv(configured map[string]string, environ []string) error {
	for k, v := range configured {
		p.env = append(p.env, k+"="+v)
	}
	sort.Strings(p.env)
	for _, kv := range p.Env {
		name, _, given := strings.Cut(kv, "=")
		if name == "" || strings.ContainsRune(kv, 0) {
			return fault.New(fault.Usage, "run: --env %q: want NAME=value, or NAME to pass on its value here", kv)
		}
		if given {
			p.env = append(p.env, kv)
			continue
		}
		value, ok := lookup(environ, name)
		if !ok {
			return fault.New(fault.Usage, "run: --env %s: is not set here, so there is no value to pass on", name).
				WithRemedy("Give one: --env %s=value", name)
		}
		p.env = append(p.env, name+"="+value)
	}
	return nil
}

// wholePath takes out the slashes that completion and "$VAR/" put into a path. ".." is left, since what it
// leads to depends on links.
func wholePath(at string) string {
	if slices.Contains(strings.Split(at, "/"), "..") {
		return at
	}
	return path.Clean(at)
}

func (p *prepared) checkPaths() error {
	if p.At != "" {
		if p.dir == "" {
			return fault.New(fault.Usage, "run: --at %s: there is no folder to show there with --no-sync", p.At)
		}
		p.At = wholePath(p.At)
		if !path.IsAbs(p.At) || path.Clean(p.At) != p.At || p.At == "/" || strings.ContainsAny(p.At, "\x00\\:") {
			return fault.New(fault.Usage, "run: --at %q: want an absolute path with forward slashes, such as /workspace", p.At)
		}
	}
	w := filepath.ToSlash(p.Workdir)
	if w == "" || path.IsAbs(w) {
		return nil
	}
	if !filepath.IsLocal(p.Workdir) {
		return fault.New(fault.Usage, "run: --workdir %q: leads out of the copied folder; want one within it, or an absolute path on the machine", p.Workdir)
	}
	if p.dir != "" {
		if _, err := os.Stat(filepath.Join(p.dir, p.Workdir)); err != nil {
			return fault.New(fault.LocalFile, "run: --workdir: %w", err).WithRemedy("Give a folder that is in the copied one, or an absolute path on the machine.")
		}
	}
	return nil
}

// checkMachine finds out what --on names, without asking any provider yet.
func (p *prepared) checkMachine(a *app.App, cfg *config.Config) error {
	if _, ok := cfg.Providers[p.On]; ok || p.On == "" {
		return nil
	}
	l, err := a.Ledger()
	if err != nil {
		return err
	}
	recs, err := l.List()
	if err != nil {
		return err
	}
	known := cfg.Names()
	for _, r := range recs {
		if string(r.Name) == p.On && r.Keep {
			if p.Image != "" && p.changed("image") {
				return fault.New(fault.Usage, "run: --image %s: machine %s exists already", p.Image, p.On)
			}
			if r.Expired(a.IO.Now()) {
				return fault.New(fault.UnknownMachine, "run: --on %s: the machine's time was over at %s", p.On, r.Expires.Format(time.RFC3339)).
					WithRemedy("Make another one with: outrigger vm create. The old one goes with: outrigger gc")
			}
			p.existing = r.Name
			return nil
		}
		if r.Keep {
			known = append(known, string(r.Name))
		}
	}
	return fault.New(fault.UnknownMachine, "run: --on %q: no provider and no machine is called that%s", p.On, app.DidYouMean(p.On, known))
}

func lookup(environ []string, name string) (value string, ok bool) {
	for _, kv := range environ {
		if k, v, found := strings.Cut(kv, "="); found && k == name {
			value, ok = v, true
		}
	}
	return value, ok
}

// escapePattern makes a gitignore pattern match only the name itself.
func escapePattern(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if strings.IndexByte(`\*?[ #!`, name[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(name[i])
	}
	return b.String()
}
