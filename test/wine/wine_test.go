package wine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/test/wine"
)

// A host is the agent for Windows and a root folder on drive C.
type host struct {
	t      *testing.T
	wine   *wine.Wine
	binary string
	root   string // as Windows knows it
	key    string // of whom it is called by
}

func newHost(t *testing.T) *host {
	t.Helper()
	w, err := wine.Open(t.Context())
	if errors.Is(err, wine.ErrAbsent) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(w.Drive(), "outrigger-")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, wine: w, binary: filepath.Join(dir, "outrigger-agent.exe"), root: `C:\` + filepath.Base(dir) + `\root`}
	cmd := exec.Command("go", "build", "-o", h.binary, "outrigger.dev/outrigger/cmd/agent")
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		h.stop()
		// Windows lets go of a program's file a moment after its end.
		for deadline := time.Now().Add(10 * time.Second); os.RemoveAll(dir) != nil && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
	})
	return h
}

type pipe struct {
	io.Reader
	io.WriteCloser
	cmd  *exec.Cmd
	once sync.Once
}

// Close ends the process.
func (p *pipe) Close() error {
	p.once.Do(func() {
		p.WriteCloser.Close()
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()         // it was killed
	})
	return nil
}

func (h *host) open(ctx context.Context, verb string) (*wire.Conn, error) {
	cmd := h.wine.Command(context.WithoutCancel(ctx), h.binary, verb, "--root", h.root, "--idle", "1m")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	conn := wire.NewConn(&pipe{Reader: out, WriteCloser: in, cmd: cmd})
	if err := conn.GreetAs("test", machine.Platform{OS: "linux", Arch: "amd64"}, h.key); err != nil {
		return nil, err
	}
	return conn, conn.Flush()
}

func (h *host) dial(ctx context.Context) (*wire.Conn, error) { return h.open(ctx, "connect") }

func (h *host) call(method string, req, resp any) error {
	conn, err := h.open(h.t.Context(), "serve")
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Call(method, req, resp)
}

func (h *host) stop() {
	conn, err := h.dial(context.Background())
	if err != nil {
		h.t.Error(err)
		return
	}
	defer conn.Close()
	if err := conn.Call(wire.MethodStop, nil, nil); err != nil {
		h.t.Errorf("stop daemon: %v", err)
	}
	if log := h.daemonLog(); h.t.Failed() {
		h.t.Logf("daemon's log:\n%s", log)
	}
}

// daemonLog is what the daemon has to say.
func (h *host) daemonLog() []byte {
	names, err := filepath.Glob(filepath.Join(filepath.Dir(h.binary), "root", "daemon", "*", "log"))
	if err != nil || len(names) != 1 {
		return nil
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

func (h *host) run(spec wire.RunSpec, streams runclient.Streams) (runclient.Exit, error) {
	spec.Lease, spec.RunID = "a", string(machine.NewName("run"))
	return runclient.Run(h.t.Context(), h.dial, spec, streams, runclient.Options{})
}

func TestAgentForWindows(t *testing.T) {
	h := newHost(t)
	var info wire.Info
	if err := h.call(wire.MethodInfo, wire.InfoRequest{}, &info); err != nil {
		t.Fatal(err)
	}
	if info.Platform.OS != "windows" || !strings.EqualFold(info.Root, h.root) || info.FreeBytes <= 0 {
		t.Errorf("info is %+v", info)
	}
	var l wire.Lease
	if err := h.call(wire.MethodLeaseAcquire, wire.LeaseAcquire{Name: "a", Owner: "test", Expires: time.Now().Add(time.Hour)}, &l); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name string
		spec wire.RunSpec
		exit int
		kind fault.Kind
		out  string
	}{
		{"exit code and streams", wire.RunSpec{Argv: []string{"cmd", "/c", "echo out& exit 7"}}, 7, "", "out\r\n"},
		{"working folder", wire.RunSpec{Argv: []string{"cmd", "/c", "cd"}}, 0, "", l.Work + "\r\n"},
		{"declared environment", wire.RunSpec{Argv: []string{"cmd", "/c", "echo %A%"}, Env: []string{"A=b c"}}, 0, "", "b c\r\n"},
		{"batch script", wire.RunSpec{Script: []byte("#!win\r\n@echo off\r\necho script %1\r\nexit 4\r\n"), Argv: []string{"x"}}, 4, "", "script x\r\n"},
		{"script with an interpreter", wire.RunSpec{Script: []byte("#!win cmd /c\n@echo by cmd\n")}, 0, "", "by cmd\r\n"},
		{"script without #!win", wire.RunSpec{Script: []byte("#!/bin/sh\necho x\n")}, 0, fault.BadScript, ""},
		{"command not found", wire.RunSpec{Argv: []string{"no-such-command"}}, 0, fault.NotFound, ""},
		{"time limit", wire.RunSpec{Argv: []string{"ping", "-n", "1000", "127.0.0.1"}, Timeout: 100 * time.Millisecond, KillGrace: 100 * time.Millisecond}, -1, fault.TimedOut, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			exit, err := h.run(tt.spec, runclient.Streams{Out: &out})
			if fault.Of(err) != tt.kind || tt.exit >= 0 && exit.Code != tt.exit || tt.kind == "" && out.String() != tt.out {
				t.Errorf("got %+v, %v, %q; want %d, %q, %q", exit, err, out.String(), tt.exit, tt.kind, tt.out)
			}
		})
	}

	// What is written to Wine 8's pseudo console never comes out, so only the process at it is looked at.
	t.Run("console", func(t *testing.T) {
		exit, err := h.run(wire.RunSpec{Argv: []string{"cmd", "/c", "exit 9"}, TTY: &wire.WinSize{Cols: 80, Rows: 24}}, runclient.Streams{})
		if err != nil || exit.Code != 9 {
			t.Errorf("got %+v, %v", exit, err)
		}
	})

	t.Run("stdin and stdout are exact", func(t *testing.T) {
		want := make([]byte, 5<<20)
		rand.New(rand.NewSource(1)).Read(want)
		copier := filepath.Join(filepath.Dir(h.binary), "copy.exe")
		src := filepath.Join(t.TempDir(), "main.go")
		program := "package main\nimport (\"io\"; \"os\")\nfunc main() { if _, err := io.Copy(os.Stdout, os.Stdin); err != nil { os.Exit(1) } }\n"
		if err := os.WriteFile(src, []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-o", copier, src)
		cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var out bytes.Buffer
		exit, err := h.run(wire.RunSpec{Argv: []string{strings.TrimSuffix(h.root, `\root`) + `\copy.exe`}}, runclient.Streams{In: bytes.NewReader(want), Out: &out})
		if err != nil || exit.Code != 0 || !bytes.Equal(out.Bytes(), want) {
			t.Errorf("got %+v, %v, %d bytes; want %d", exit, err, out.Len(), len(want))
		}
	})

	t.Run("what a run leaves behind dies with it", func(t *testing.T) {
		var out bytes.Buffer
		exit, err := h.run(wire.RunSpec{Argv: []string{"cmd", "/c", "start /b ping -n 4711 127.0.0.1 >nul & echo started"}}, runclient.Streams{Out: &out})
		if err != nil || exit.Code != 0 || out.String() != "started\r\n" {
			t.Errorf("got %+v, %v, %q", exit, err, out.String())
		}
		if left := processes(t, "-n\x004711"); len(left) != 0 {
			t.Errorf("left behind: %q", left)
		}
	})

	t.Run("leases are of who has their key", func(t *testing.T) { leasesOfWhoHasTheirKey(t, h) })
	t.Run("the home is put back", func(t *testing.T) { homeIsPutBack(t, h) })

	if err := h.call(wire.MethodLeaseRelease, wire.LeaseRelease{Name: "a"}, nil); err != nil {
		t.Error(err)
	}
	var list wire.LeaseList
	if err := h.call(wire.MethodLeaseList, nil, &list); err != nil || len(list.Leases) != 0 {
		t.Errorf("leases are %+v, %v; want none", list.Leases, err)
	}
}

// processes lists those whose arguments hold s; Wine's are Linux's too.
func processes(t *testing.T, s string) []string {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), s) {
			found = append(found, string(b))
		}
	}
	return found
}
