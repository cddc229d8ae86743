package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/wire"
)

func TestScripts(t *testing.T) {
	dir := t.TempDir()
	buildAgent(t, dir)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("XDG_CONFIG_HOME", "")
			env.Setenv("XDG_STATE_HOME", "")
			env.Setenv("OUTRIGGER_CONFIG", "")
			env.Setenv("OUTRIGGER_AGENTS", dir)
			env.Values[using{}] = &user{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "ledger": editLedger, "use": use, "unuse": unuse, "lease": lease, "swept": swept,
		},
	})
}

// buildAgent builds the agent of this platform into dir, as make build does for all.
func buildAgent(t *testing.T, dir string) {
	t.Helper()
	name := "outrigger-agent-" + runtime.GOOS + "-" + runtime.GOARCH
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "outrigger.dev/outrigger/cmd/agent")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
}

// exits CODE COMMAND... wants exactly that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// editLedger NAME KEY=VALUE... changes a machine's record as only a kill, time
// or a lost folder would; "-" removes it.
func editLedger(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: ledger NAME KEY=VALUE...")
	}
	file := ts.MkAbs("home/.local/state/outrigger/ledger/" + args[0] + ".json")
	if args[1] == "-" {
		ts.Check(os.Remove(file))
		return
	}
	var rec map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &rec))
	for _, change := range args[1:] {
		key, value, _ := strings.Cut(change, "=")
		rec[key] = value
		if value == "false" {
			delete(rec, key)
		}
	}
	b, err := json.Marshal(rec)
	ts.Check(err)
	ts.Check(os.WriteFile(file, b, 0o600))
}

// lease NAME LEASE takes a lease on a machine that expires at once, as a run
// does that is killed and whose time passes.
func lease(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lease NAME LEASE")
	}
	ctx := context.Background()
	environ := []string{"HOME=" + ts.Getenv("HOME"), "OUTRIGGER_AGENTS=" + ts.Getenv("OUTRIGGER_AGENTS")}
	a := app.New(&term.IO{Out: ts.Stdout(), Err: ts.Stderr(), Environ: environ, Now: time.Now})
	c, h, err := a.Borrow(ctx, args[0])
	ts.Check(err)
	defer func() { ts.Check(c.Release(ctx)) }()
	defer h.Close()
	req := wire.LeaseAcquire{Name: args[1], Owner: string(c.Record().Owner), Expires: time.Now().Add(time.Second)}
	ts.Check(h.Call(ctx, wire.MethodLeaseAcquire, req, nil))
}

// swept REGEXP repeats gc until it says so.
func swept(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: swept REGEXP")
	}
	want := regexp.MustCompile(args[0])
	for deadline := time.Now().Add(time.Minute); ; {
		ts.Check(ts.Exec("outrigger", "gc"))
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("gc never says %q", args[0])
		}
	}
}

type using struct{}

// A user has a shell open on a machine.
type user struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// use NAME opens a shell on a machine and waits until it runs there; unuse closes it.
func use(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: use NAME")
	}
	exe, err := os.Executable()
	ts.Check(err)
	cmd := exec.Command(exe)
	cmd.Args = []string{"outrigger", "vm", "shell", args[0], "--", "echo started; read x"}
	cmd.Dir = ts.Getenv("WORK")
	for _, key := range []string{"HOME", "PATH", "OUTRIGGER_AGENTS"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	cmd.Stderr = ts.Stderr()
	stdin, err := cmd.StdinPipe()
	ts.Check(err)
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	u := ts.Value(using{}).(*user)
	u.cmd, u.stdin = cmd, stdin
	ts.Defer(func() { u.end() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if line != "started\n" {
		ts.Fatalf("the shell said %q, %v", line, err)
	}
}

func (u *user) end() {
	if u.cmd == nil {
		return
	}
	u.stdin.Close()
	_ = u.cmd.Wait() // how it ended is not what the script is about
	u.cmd = nil
}

func unuse(ts *testscript.TestScript, _ bool, _ []string) { ts.Value(using{}).(*user).end() }
