//go:build linux

package local_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/sshd"
)

func TestSessionsHaveAHomeOfTheirOwn(t *testing.T) {
	state := t.TempDir()
	t.Setenv("SSH_AUTH_SOCK", "/secret")
	_, c := made(t, open(t, state), machine.Spec{Name: "a", Owner: "me"})
	home := filepath.Join(state, "local", "a", "home")
	for command, want := range map[string]string{
		"echo $HOME":                         home,
		"pwd":                                home,
		"echo $PATH":                         os.Getenv("PATH"),
		"echo $" + local.Marker:              filepath.Dir(home),
		"mktemp -u | xargs dirname":          filepath.Join(state, "local", "a", "tmp"),
		"echo ${SSH_AUTH_SOCK-unset}":        "unset",
		"echo out; echo err >&2":             "out",
		"echo $0 $#":                         "sh 0",
		"ps -o tty= -p $$ | tr -d ' '":       "?",
		"[ $(ps -o pgid= $$) = $$ ] && echo": "",
	} {
		if got := output(t, c, command); got != want {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
}

func TestSessionsSpeakSSH(t *testing.T) {
	_, c := made(t, open(t, t.TempDir()), machine.Spec{Name: "a", Owner: "me"})
	for command, want := range map[string]int{"exit 0": 0, "exit 200": 200, "kill -TERM $$": 143, "kill -KILL $$": 137, "kill -USR1 $$": 138} {
		if exit, err := c.Shell(t.Context(), reach.ShellSpec{Command: command}); exit != want || err != nil {
			t.Errorf("%s: got %d, %v; want %d", command, exit, err, want)
		}
	}
	var out, errs strings.Builder
	exit, err := c.Shell(t.Context(), reach.ShellSpec{
		Command: "cat; echo err >&2; exit 3", Stdin: strings.NewReader(strings.Repeat("0123456789", 500_000)), Stdout: &out, Stderr: &errs,
	})
	if exit != 3 || err != nil || out.Len() != 5_000_000 || errs.String() != "err\n" {
		t.Errorf("got exit %d, %v, %d bytes, %q", exit, err, out.Len(), errs.String())
	}
	for range 50 { // the end of a short command must not overtake its beginning
		if got := output(t, c, "echo x"); got != "x" {
			t.Fatalf("got %q", got)
		}
	}
}

func TestTerminal(t *testing.T) {
	_, c := made(t, open(t, t.TempDir()), machine.Spec{Name: "a", Owner: "me"})
	resized := make(chan reach.Window)
	in, typed := io.Pipe()
	defer typed.Close()
	out, screen := io.Pipe()
	go func() {
		exit, err := c.Shell(t.Context(), reach.ShellSpec{
			Command: "tty >/dev/null && echo $TERM; stty size; read line; until [ \"$(stty size)\" = '22 77' ]; do sleep 0.01; done; exit 5",
			Stdin:   in, Stdout: screen, Term: "vt100", Window: reach.Window{Width: 101, Height: 33}, Resized: resized,
		})
		if exit != 5 || err != nil {
			t.Errorf("got exit %d, %v; want 5", exit, err)
		}
		screen.Close()
	}()
	want := "vt100\r\n33 101\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
		t.Errorf("screen shows %q, %v; want %q", got, err, want)
	}
	shown := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, out) // until the shell has ended
		close(shown)
	}()
	if _, err := io.WriteString(typed, "go\n"); err != nil {
		t.Error(err)
	}
	resized <- reach.Window{Width: 77, Height: 22}
	<-shown
}

func TestOnlyTheMachinesKeyOpensIt(t *testing.T) {
	m, _ := made(t, open(t, t.TempDir()), machine.Spec{Name: "a", Owner: "me"})
	ep := m.Endpoint
	ep.Auth.Keys = []machine.Secret{sshd.NewKey(t, "ed25519").Secret()}
	if _, err := reach.Dial(t.Context(), ep, reach.Options{}); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("a stranger's key: got %v, want a fault of kind AuthRefused", err)
	}
	for _, name := range []string{"host_key", "client_key"} {
		info, err := os.Stat(filepath.Join(filepath.Dir(output(t, dialled(t, m), "echo $HOME")), name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info.Mode(), err)
		}
	}
}

func dialled(t *testing.T, m machine.Machine) *reach.Client {
	t.Helper()
	c, err := reach.Dial(t.Context(), m.Endpoint, reach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// What was started on a machine ends with it, wherever it went.
func TestDeleteEndsWhatRunsThere(t *testing.T) {
	state := t.TempDir()
	p := open(t, state)
	_, c := made(t, p, machine.Spec{Name: "a", Owner: "me"})
	other, oc := made(t, p, machine.Spec{Name: "other", Owner: "me"})
	stays := output(t, oc, "sleep 600 >/dev/null 2>&1 & echo $!")
	stubborn := output(t, c, `(trap '' TERM HUP; while :; do sleep 1; done) >/dev/null 2>&1 & echo $!`)
	pids := []string{
		stubborn,
		output(t, c, "setsid sleep 600 >/dev/null 2>&1 & sleep 0.1; pgrep -n -x sleep"),
		output(t, c, "cp $(command -v sleep) ~/mine; env -i ~/mine 600 >/dev/null 2>&1 & echo $!"), // unmarked, but its program lies there
	}
	output(t, c, "mkdir -p ~/ro/deep && touch ~/ro/deep/file && chmod -R a-w ~/ro")
	if err := p.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(t, pid) {
			t.Errorf("process %s is alive", pid)
		}
	}
	if !alive(t, stays) {
		t.Error("a process of another machine was ended")
	}
	if _, err := os.Stat(filepath.Join(state, "local", "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	select {
	case <-c.Done():
	case <-t.Context().Done():
	}
	output(t, dialled(t, other), "true")
}

// alive tells whether a process runs; one that waits to be buried does not.
func alive(t *testing.T, pid string) bool {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestMachineOutlivesItsMakerAndComesBack(t *testing.T) {
	p := open(t, t.TempDir())
	spec := machine.Spec{Name: "a", Owner: "me"}
	m, c := made(t, p, spec)
	output(t, c, "echo kept >~/file")
	// The server is nobody's child and in a session of its own.
	server := serverOf(t, c)
	stat, err := os.ReadFile("/proc/" + server + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
	if fields[2] == strconv.Itoa(os.Getpid()) || fields[3] != server {
		t.Errorf("parent %s, session %s of server %s", fields[2], fields[3], server)
	}
	kill(t, server, syscall.SIGKILL)
	<-c.Done()
	await(t, "the machine counts as stopped", func() bool {
		got, err := p.Get(t.Context(), "a")
		return err == nil && got.State == machine.Stopped
	})
	again, c := made(t, p, spec)
	if again.State != machine.Running || again.Endpoint.HostKeys[0] != m.Endpoint.HostKeys[0] {
		t.Errorf("came back as %+v", again)
	}
	if got := output(t, c, "cat ~/file"); got != "kept" {
		t.Errorf("file holds %q", got)
	}
}

// serverOf returns the process that serves the session.
func serverOf(t *testing.T, c *reach.Client) string {
	t.Helper()
	return output(t, c, "ps -o ppid= -p $$ | tr -d ' '")
}

func kill(t *testing.T, pid string, sig syscall.Signal) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, sig); err != nil {
		t.Fatal(err)
	}
}

func TestMachineEndsWhenItExpires(t *testing.T) {
	p := open(t, t.TempDir())
	m, err := p.Create(t.Context(), machine.Spec{Name: "a", Owner: "me", Expires: time.Now().Add(4 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	c := dialled(t, m)
	pid := output(t, c, "sleep 600 >/dev/null 2>&1 & echo $!")
	<-c.Done()
	await(t, "the machine has stopped", func() bool {
		m, err := p.Get(t.Context(), "a")
		return err == nil && m.State == machine.Stopped && !alive(t, pid)
	})
	again, err := p.Create(t.Context(), machine.Spec{Name: "a", Owner: "me"})
	if err != nil || again.State != machine.Running || !again.Expires.IsZero() {
		t.Errorf("made again: %+v, %v; want a machine that runs and does not expire", again, err)
	}
	if err := p.Delete(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if _, err := p.Create(t.Context(), machine.Spec{Name: "a", Owner: "me", Expires: time.Now().Add(-time.Second)}); !fault.Is(err, fault.ProviderRefused) {
		t.Errorf("a machine that has expired: %v", err)
	}
	if err := p.Delete(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestProvidersOfTwoNamesSeeTheirOwn(t *testing.T) {
	state := t.TempDir()
	p := open(t, state)
	other, err := local.New("other", local.Config{}, state, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := machine.Spec{Name: "a", Owner: "me"}
	_, c := made(t, p, spec)
	if _, err := other.Create(t.Context(), spec); !fault.Is(err, fault.NameTaken) {
		t.Errorf("Create: %v", err)
	}
	if _, err := other.Get(t.Context(), "a"); !fault.Is(err, fault.UnknownMachine) {
		t.Errorf("Get: %v", err)
	}
	if all, err := other.List(t.Context(), ""); len(all) > 0 || err != nil {
		t.Errorf("List: %v, %v", all, err)
	}
	if err := other.Delete(t.Context(), "a"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	output(t, c, "true")
}

func TestServerEndsWhenItsFolderIsRemoved(t *testing.T) {
	state := t.TempDir()
	_, c := made(t, open(t, state), machine.Spec{Name: "a", Owner: "me"})
	pid := output(t, c, "sleep 600 >/dev/null 2>&1 & echo $!")
	if err := os.RemoveAll(filepath.Join(state, "local")); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	await(t, "nothing of the machine runs", func() bool { return !alive(t, pid) && len(processesOf(t, state)) == 0 })
}

func TestClientLeavesAndItsCommandLearnsOfIt(t *testing.T) {
	m, c := made(t, open(t, t.TempDir()), machine.Spec{Name: "a", Owner: "me"})
	s, err := c.Stream(t.Context(), "echo $$; yes")
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 20)
	n, err := s.Read(first)
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(first[:n]), "\n")
	c.Close()
	await(t, "the command has died of a broken pipe", func() bool { return !alive(t, pid) })
	output(t, dialled(t, m), "true")
}

func TestFolderWithoutARecordIsFoundAndRemoved(t *testing.T) {
	state := t.TempDir()
	p := open(t, state)
	// As if the maker had died right after it made the folder.
	if err := os.MkdirAll(filepath.Join(state, "local", "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	m, err := p.Get(t.Context(), "half")
	if err != nil || m.State != machine.Creating {
		t.Errorf("got %+v, %v", m, err)
	}
	if all, err := p.List(t.Context(), ""); err != nil || len(all) != 1 {
		t.Errorf("List: %v, %v", all, err)
	}
	if all, err := p.List(t.Context(), "me"); err != nil || len(all) != 0 {
		t.Errorf("List of an owner: %v, %v", all, err)
	}
	// As if a removal had been killed.
	if err := os.MkdirAll(filepath.Join(state, "local", ".gone-x-1", "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), "half"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(state, "local")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	state := t.TempDir()
	p := open(t, state)
	spec := machine.Spec{Name: "a", Owner: "me"}
	if _, err := p.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	broken, err := local.New("local", local.Config{}, state, []string{"/bin/sh", "-c", "echo no luck >&2; exit 1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = broken.Create(t.Context(), spec)
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.ProviderDown || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("got %v", err)
	}
	if err := broken.Delete(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}
