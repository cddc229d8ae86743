//go:build linux

package answers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/test/processes"
	"outrigger.dev/outrigger/test/program"
	"outrigger.dev/outrigger/test/soak"
	"outrigger.dev/outrigger/test/sshd"
)

var bin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "outrigger-bin-")
	if err == nil {
		bin = dir
		err = program.Build(context.Background(), bin)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, "answers:", err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// verbs are what users do that has a machine answer. What some print is the machine's own: the output of commands there.
var verbs = []struct {
	args []string
	raw  bool
}{
	{args: []string{"vm", "list"}},
	{args: []string{"vm", "list", "--output", "json"}},
	{args: []string{"vm", "create", "--name", "box"}},
	{args: []string{"vm", "create", "--name", "other", "--output", "json"}},
	{args: []string{"vm", "cp", "box:report", "../dl"}},
	{args: []string{"vm", "cp", "in", "box:sent"}},
	{args: []string{"vm", "delete", "box"}},
	{args: []string{"vm", "shell", "box", "--", "echo", "hello"}, raw: true},
	{args: []string{"run", "--", "sh", "-c", "cat in; echo made >made; ls >list"}, raw: true},
	{args: []string{"run", "--quiet", "--at", "~/at/x", "--", "sh", "-c", "echo made >>made"}, raw: true},
	{args: []string{"fetch"}},
	{args: []string{"fetch", "--output", "json"}},
	{args: []string{"gc"}},
	{args: []string{"gc", "--output", "json"}},
	{args: []string{"doctor", "evil"}},
}

// TestRandomAnswers holds that whatever a machine answers, nothing changes here but the folder of a run, the target of a copy
// and the program's own state; what is printed is text that no terminal obeys, of bounded length; and the program ends, on a
// signal at the latest, without a panic and without much memory.
func TestRandomAnswers(t *testing.T) {
	for _, seed := range soak.Seeds(t, 24) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			t.Parallel()
			u := newUser(t, seed)
			u.machine.chance = 0
			if u.rnd.IntN(3) > 0 { // else the first thing that is met is hostile
				u.call(true, "vm", "create", "--quiet", "--name", "box")
			}
			u.machine.mu.Lock()
			u.machine.chance = []float64{.02, .1, .3, .6}[u.rnd.IntN(4)]
			u.machine.mu.Unlock()
			before := u.see()
			for range 3 {
				v := verbs[u.rnd.IntN(len(verbs))]
				u.call(v.raw, v.args...)
				if diff := cmp.Diff(before, u.see()); diff != "" {
					t.Fatalf("%v changed what is none of its business:\n%s", v.args, diff)
				}
			}
		})
	}
}

// A user has a home with things of worth, and a hostile machine.
type user struct {
	t       *testing.T
	rnd     *rand.Rand
	home    string
	machine *hostile
}

func newUser(t *testing.T, seed uint64) *user {
	t.Helper()
	u := &user{t: t, rnd: rand.New(rand.NewPCG(seed, 6)), home: t.TempDir(), machine: newHostile(t, seed)}
	key := sshd.NewKey(t, "ed25519").File(t, t.TempDir(), "")
	for name, content := range map[string]string{
		".bashrc": "mine", ".ssh/authorized_keys": "mine", "other/file": "mine", "dl/kept": "mine", "project/in": "in\n", "project/sub/x": "x",
		".config/outrigger/config.yaml": u.machine.config(t, key),
	} {
		u.write(filepath.Join(u.home, name), content)
	}
	u.write(filepath.Join(u.machine.home, "report", "a"), "a")
	t.Cleanup(func() {
		for _, p := range processes.Of(u.machine.home) { // daemons
			if _, err := p.Kill(); err != nil {
				t.Error(err)
			}
		}
	})
	return u
}

func (u *user) write(name, content string) {
	u.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(content), 0o600)); err != nil {
		u.t.Fatal(err)
	}
}

// call runs the program to its end, and interrupts it if it waits for a machine that has nothing more to say.
func (u *user) call(raw bool, args ...string) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "outrigger"), args...)
	cmd.Dir = filepath.Join(u.home, "project")
	cmd.Env = []string{"HOME=" + u.home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + u.t.TempDir()}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		for wait := 15 * time.Second; ; wait = 5 * time.Second {
			select {
			case <-done:
				return
			case <-time.After(wait):
				_ = cmd.Process.Signal(syscall.SIGINT) // it may have ended
			}
		}
	}()
	_ = cmd.Wait() // how it ended is looked at
	close(done)
	code := cmd.ProcessState.ExitCode()
	if ctx.Err() != nil || code < 0 || bytes.Contains(errs.Bytes(), []byte("goroutine ")) {
		u.t.Errorf("%v: exit code %d, %v; stderr ends:\n%q", args, code, ctx.Err(), tail(errs.Bytes()))
	}
	if kib := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; kib > 400<<10 {
		u.t.Errorf("%v: %d MiB of memory", args, kib>>10)
	}
	soak.Count(u.t, fmt.Sprintf("%s: exit code %d", strings.Join(args[:min(2, len(args))], " "), code))
	if raw {
		return
	}
	for _, b := range [][]byte{out.Bytes(), errs.Bytes()} {
		if why := dirty(b); why != "" {
			u.t.Errorf("%v printed %s; it ends:\n%q", args, why, tail(b))
		}
	}
	if strings.Contains(strings.Join(args, " "), "--output json") && code == 0 && !json.Valid(out.Bytes()) {
		u.t.Errorf("%v printed no JSON:\n%q", args, tail(out.Bytes()))
	}
}

// dirty says what is wrong with what was printed.
func dirty(b []byte) string {
	switch i := bytes.IndexFunc(b, func(r rune) bool {
		return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf))
	}); {
	case len(b) > 256<<10:
		return fmt.Sprintf("%d bytes", len(b))
	case !utf8.Valid(b):
		return "what is not UTF-8"
	case i >= 0:
		return fmt.Sprintf("a control character at %d", i)
	}
	return ""
}

// see is all that the user has, but for what a machine may have changed.
func (u *user) see() map[string]string {
	u.t.Helper()
	seen := map[string]string{}
	err := filepath.WalkDir(u.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(u.home, path)
		if err != nil {
			return err
		}
		switch rel {
		case "project", ".local", ".cache", "dl/report":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		seen[rel] = info.Mode().String()
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			seen[rel] += " " + string(b)
		}
		return nil
	})
	if err != nil {
		u.t.Fatal(err)
	}
	return seen
}

func tail(b []byte) []byte { return b[max(0, len(b)-1500):] }
