package runs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/link"
	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// environ returns the environment of a run: the client's locale, over it what a login has, the lease's
// TMPDIR, and over them what the client declared.
func environ(login []string, tmp string, spec wire.RunSpec) []string {
	env := proc.Setenv(locale(spec.Locale), login...)
	env = proc.Setenv(env, tmpVars(tmp)...)
	if spec.TTY != nil {
		env = proc.Setenv(env, "TERM=xterm-256color")
	}
	return proc.Setenv(env, spec.Env...)
}

// locale leaves in what names a locale: a client sends what it has, as OpenSSH's SendEnv LANG LC_* does.
func locale(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		k, v, _ := strings.Cut(kv, "=")
		return v == "" || k != "LANG" && k != "LANGUAGE" && !strings.HasPrefix(k, "LC_")
	})
}

// rewritten applies the lease's rewrites to what a run executes.
func rewritten(spec wire.RunSpec, rewrites []disk.Rewrite) wire.RunSpec {
	for _, rw := range rewrites {
		all := func(in []string) []string {
			out := make([]string, len(in))
			for i, s := range in {
				out[i] = link.Rewrite(s, rw.From, rw.To)
			}
			return out
		}
		spec.Argv, spec.Env = all(spec.Argv), all(spec.Env)
		spec.Dir = link.Rewrite(spec.Dir, rw.From, rw.To)
		if spec.Script != nil { // an empty script is not none
			spec.Script = []byte(link.Rewrite(string(spec.Script), rw.From, rw.To))
		}
	}
	return spec
}

// workdir finds the folder that a run starts in.
func workdir(dir disk.LeaseDir, d string) (string, error) {
	path := filepath.FromSlash(d)
	if !filepath.IsAbs(path) && !rooted(path) {
		var err error
		if path, err = dir.Work(d); err != nil {
			return "", err
		}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fault.New(fault.RemoteFile, "working folder %q: not on the machine", d)
	case err != nil:
		return "", fault.New(fault.RemoteFile, "working folder %q: %w", d, err)
	case !info.IsDir():
		return "", fault.New(fault.RemoteFile, "working folder %q: is a file on the machine", d)
	}
	return path, nil
}

// command finds what spec executes, and writes its script to the run's folder.
func command(spec wire.RunSpec, run disk.RunDir, dir string, env []string) (proc.Spec, error) {
	// A shell believes PWD if it names the folder that it is in: a path that leads
	// there through a link then stays as the user wrote it.
	env = proc.Setenv(env, "PWD="+dir)
	ps := proc.Spec{ID: disk.Marker(spec.Lease, spec.RunID), Env: env, Dir: dir, TTY: spec.TTY, ErrPipe: spec.ErrPipe}
	argv := spec.Argv
	if spec.Script != nil {
		interpreter, path, content, err := script(spec.Script, run)
		if err != nil {
			return ps, err
		}
		if err := writeProgram(path, content); err != nil {
			return ps, disk.Fault("script", err)
		}
		argv = append(append(interpreter, path), spec.Argv...)
	}
	if len(argv) == 0 {
		return ps, fault.New(fault.Usage, "nothing to execute: no command and no script")
	}
	path, err := proc.Look(argv[0], dir, env)
	if err != nil {
		return ps, err
	}
	ps.Path, ps.Argv = path, argv
	return ps, nil
}

// writeProgram writes a file that is executed at once. No process may be
// forked while it is open for writing: the child would inherit it, and the
// kernel refuses to execute a file that somebody can write (ETXTBSY).
func writeProgram(path string, content []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, 0o700)
}

// startFault says why a program that was found could not be started.
func startFault(ps proc.Spec, isScript bool, err error) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, fs.ErrNotExist):
		// The file was there a moment ago, so what is missing is its interpreter.
		return fault.New(fault.NotFound, "command %q: the interpreter in its first line (%s) is not on the machine", ps.Argv[0], firstLine(ps.Path))
	case errors.Is(err, fs.ErrPermission) && isScript:
		return fault.New(fault.NotExecutable, "script: %w", err).
			WithRemedy("The file system of the agent's folder may forbid programs (noexec); give the endpoint another root folder.")
	case errors.Is(err, syscall.E2BIG):
		return fault.New(fault.Usage, "command %q: arguments and environment are too long: %w", ps.Argv[0], err)
	case disk.IsFull(disk.Fault("", err)):
		return disk.Fault("start", err)
	}
	return fault.New(fault.NotExecutable, "command %q: %w", ps.Argv[0], err)
}

// firstLine returns how the program at path begins, as far as it is text worth showing.
func firstLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	defer f.Close()
	var head [128]byte
	n, err := io.ReadFull(f, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "unreadable: " + err.Error()
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	return strconv.QuoteToASCII(string(line))
}
