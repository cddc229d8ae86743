//go:build unix

package scenario

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands is what scripts may say beyond testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":        exits,
	"start":        start,
	"terminal":     terminal,
	"type":         typeKeys,
	"await":        await,
	"await-file":   awaitFile,
	"await-gc":     awaitGC,
	"signal":       sendSignal,
	"end":          end,
	"sshd":         server,
	"proxy":        proxyCmd,
	"expand":       expand,
	"disk":         disk,
	"same":         same,
	"vms":          vms,
	"kill-machine": killMachine,
	"nothing-left": nothingLeft,
}

// want checks how a command was called.
func want(ts *testscript.TestScript, neg, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) >= 2, "exits CODE COMMAND...")
	err := ts.Exec(args[1], args[2:]...)
	if got := code(err); strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code is %d, want %s (%v)", got, args[0], err)
	}
}

// code is what a shell would put in $?; -1 for a command that could not be executed.
func code(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		return -1
	}
	if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return 128 + int(st.Signal())
	}
	return exit.ExitCode()
}

// A process runs beside the script.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr buffer
	done           chan struct{}
	err            error
	keyboard       *os.File // of one on a terminal
}

// A buffer is written by the process and read by the script meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) >= 2, "start NAME COMMAND...")
	p := newProcess(ts, args[0], args[1:])
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	ts.Check(p.cmd.Start())
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
}

// newProcess is one that is to be started, with the script's environment.
func newProcess(ts *testscript.TestScript, name string, argv []string) *process {
	s := of(ts)
	path, err := exec.LookPath(argv[0])
	if exists(ts.Getenv("BIN") + "/" + argv[0]) {
		path, err = ts.Getenv("BIN")+"/"+argv[0], nil
	}
	ts.Check(err)
	p := &process{cmd: exec.Command(path, argv[1:]...), done: make(chan struct{})}
	p.cmd.Dir = ts.MkAbs(".")
	for _, name := range append([]string{"OUTRIGGER_CONFIG", "XDG_STATE_HOME"}, s.vars...) { // testscript keeps the whole to itself
		name, _, _ = strings.Cut(name, "=")
		if value := ts.Getenv(name); value != "" {
			p.cmd.Env = append(p.cmd.Env, name+"="+value)
		}
	}
	// What it leaves running must not keep us waiting for its output.
	p.cmd.WaitDelay = patience
	s.procs[name] = p
	return p
}

func named(ts *testscript.TestScript, name string) *process {
	p := of(ts).procs[name]
	if p == nil {
		ts.Fatalf("nothing was started under the name %s", name)
	}
	return p
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 2, "await NAME PATTERN")
	p := named(ts, args[0])
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var ended bool
	found := poll(patience, func() bool {
		ended = !p.running() // asked first: what it said last counts
		return re.MatchString(p.stdout.String()) || re.MatchString(p.stderr.String()) || ended
	})
	if !found || ended && !re.MatchString(p.stdout.String()) && !re.MatchString(p.stderr.String()) {
		ts.Fatalf("%s did not say %q (ended: %t)\nstdout:\n%s\nstderr:\n%s", args[0], args[1], ended, p.stdout.String(), p.stderr.String())
	}
}

func awaitFile(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 1, "await-file FILE")
	if !poll(patience, func() bool { return exists(ts.MkAbs(args[0])) }) {
		ts.Fatalf("%s did not appear within %s", args[0], patience)
	}
}

func awaitGC(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 1, "await-gc PATTERN")
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var said string
	if !poll(patience, func() bool {
		ts.Check(ts.Exec("outrigger", "gc"))
		said = ts.ReadFile("stdout")
		return re.MatchString(said)
	}) {
		ts.Fatalf("gc never says %q, in the end %q", args[0], said)
	}
}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL,
		"QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "ABRT": syscall.SIGABRT}
	want(ts, neg, len(args) == 2 && signals[args[1]] != 0, "signal NAME INT|TERM|HUP|QUIT|USR1|USR2|ABRT|KILL")
	ts.Check(named(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

func end(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 2, "end NAME CODE")
	p := named(ts, args[0])
	if !poll(patience, func() bool { return !p.running() }) {
		ts.Fatalf("%s does not end\nstdout:\n%s\nstderr:\n%s", args[0], p.stdout.String(), p.stderr.String())
	}
	ts.Stdout().Write([]byte(p.stdout.String()))
	ts.Stderr().Write([]byte(p.stderr.String()))
	if got := code(p.err); strconv.Itoa(got) != args[1] {
		ts.Fatalf("%s: exit code is %d, want %s", args[0], got, args[1])
	}
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 1, "expand FILE")
	file := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(file, []byte(os.Expand(ts.ReadFile(file), ts.Getenv)), 0o644))
}

func nothingLeft(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 0, "nothing-left")
	ts.Check(of(ts).nothingLeft())
}
