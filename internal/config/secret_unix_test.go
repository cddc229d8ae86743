//go:build unix

package config_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/config"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/sshhost"
)

const hosts = "providers: {x: {ssh: {hosts: [{address: a, %s}]}}}"

func resolve(ctx context.Context, t *testing.T, dir, key string, s config.Secrets) (sshhost.Config, error) {
	t.Helper()
	c, err := config.Parse(filepath.Join(dir, "c.yaml"), fmt.Appendf(nil, hosts, key), dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Resolve(ctx, "x", s)
	if err != nil {
		return sshhost.Config{}, err
	}
	return got.(sshhost.Config), nil
}

func TestSecretsComeFromFileEnvironmentOrCommand(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("from file \r\nuser: me\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := config.Secrets{
		Getenv:  func(k string) string { return map[string]string{"PW": "from env"}[k] },
		Environ: append(os.Environ(), "WORD=command"),
		Warn:    func(text string) { t.Errorf("warning: %s", text) },
	}
	for key, want := range map[string]string{
		"passwordFile: pw": "from file ",
		"passwordEnv: PW":  "from env",
		`passwordCommand: [sh, -c, 'echo from $WORD in $(basename "$PWD")']`: "from command in " + filepath.Base(dir),
		"agent: true": "",
	} {
		got, err := resolve(t.Context(), t, dir, key, s)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		if pw := got.Hosts[0].Password; pw.Reveal() != want {
			t.Errorf("%s: got %q, want %q", key, pw.Reveal(), want)
		}
		if want != "" && strings.Contains(fmt.Sprintf("%+v %#v", got, got), want) {
			t.Errorf("%s: the password can be printed", key)
		}
	}
}

func TestSecretsThatAreNotThere(t *testing.T) {
	dir := t.TempDir()
	s := config.Secrets{Getenv: func(string) string { return "" }, Environ: os.Environ(), Timeout: 30 * time.Second}
	for key, want := range map[string]string{
		"passwordFile: none":                                    "none",
		"passwordEnv: NONE":                                     "variable NONE is empty or not set",
		"passwordCommand: [outrigger-no-such-command]":          "outrigger-no-such-command",
		"passwordCommand: [sh, -c, 'echo hunter2; exit 3']":     "exit status 3",
		"passwordCommand: [sh, -c, 'true']":                     "gave nothing",
		"passwordCommand: [sh, -c, 'head -c 70000 /dev/zero']":  "more than 65536 bytes",
		"passwordCommand: [sh, -c, 'read x && echo got input']": "exit status 1",
	} {
		_, err := resolve(t.Context(), t, dir, key, s)
		if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want a Config fault with %q and without the secret", key, err, want)
		}
	}
}

func TestSecretCommandHasALimit(t *testing.T) {
	s := config.Secrets{Environ: os.Environ(), Timeout: 50 * time.Millisecond}
	_, err := resolve(t.Context(), t, t.TempDir(), `passwordCommand: [sleep, "600"]`, s)
	if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("got %v, want a Config fault about the limit", err)
	}
}

// A command that is given up is ended with everything that it started.
func TestSecretCommandEndsWithTheContext(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := resolve(ctx, t, dir, `passwordCommand: [sh, -c, 'sleep 600 & echo $! > tmp; mv tmp pid; wait']`, config.Secrets{Environ: os.Environ()})
		done <- err
	}()
	var pid int
	until(t, "the command to start", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		return err == nil
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	until(t, "the command's child to end", func() bool { return !alive(pid) })
}

// until looks for a fact until it is there.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}

func TestASecretThatOthersCanReadIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	var warned []string
	s := config.Secrets{Warn: func(text string) { warned = append(warned, text) }}
	if _, err := resolve(t.Context(), t, dir, "passwordFile: pw", s); err != nil {
		t.Fatal(err)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "mode 0644 lets others read it") {
		t.Errorf("warnings: %q", warned)
	}
}

// alive tells whether the process runs; one that ended and waits to be reaped
// by its new parent does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && runtime.GOOS != "linux"
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(state, "Z")
}
