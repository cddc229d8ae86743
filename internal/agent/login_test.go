//go:build linux

package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// profiled returns a host whose user has a profile, and what changes it.
func profiled(t *testing.T) (h *host, profile func(string)) {
	h = newHost(t)
	h.lease("a")
	home := t.TempDir()
	h.env = append(h.env, "HOME="+home)
	return h, func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(home, ".profile"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEachRunHasTheProfileAsItIs(t *testing.T) {
	h, profile := profiled(t)
	for _, tt := range []struct{ profile, script, want string }{
		{"export TOOL=1 SSH_AUTH_SOCK=/run/agent SSH_KEY_FILE=/k", "echo $TOOL $SSH_AUTH_SOCK $SSH_KEY_FILE", "1 /run/agent /k\n"},
		{"export TOOL=22", "echo $TOOL $SSH_AUTH_SOCK", "22\n"},
		{"umask 002; ulimit -n 777; ulimit -c 0", "umask; ulimit -n; ulimit -Hn; ulimit -c", "0002\n777\n777\n0\n"},
		{"umask 027", "umask; : >$TMPDIR/f; stat -c %a $TMPDIR/f; rm $TMPDIR/f", "0027\n640\n"},
		{"ulimit -S -n 100", "ulimit -Sn", "100\n"},
		{"", "echo $TOOL; umask", "\n0022\n"},
	} {
		profile("umask 022\n" + tt.profile + "\n")
		if got := h.run(sh(tt.script), runclient.Streams{}, runclient.Options{}); got.out != tt.want || got.outcome() != "exit 0" {
			t.Errorf("with %q: %q%s, %s, %v; want %q", tt.profile, got.out, got.errs, got.outcome(), got.err, tt.want)
		}
	}
	profile("ulimit -c 0")
	for script, want := range map[string]string{"exit 3": "exit 3", "kill -SEGV $$": "signal SEGV"} {
		if got := h.run(sh(script), runclient.Streams{}, runclient.Options{}); got.outcome() != want {
			t.Errorf("%s with limits: %s, %v", script, got.outcome(), got.err)
		}
	}
	if got := h.run(wire.RunSpec{Argv: []string{"/no/such"}}, runclient.Streams{}, runclient.Options{}); got.outcome() != "CommandNotFound" {
		t.Errorf("no command, with limits: %s, %v", got.outcome(), got.err)
	}
}

func TestProfileThatIsNotInEffectIsTold(t *testing.T) {
	h, profile := profiled(t)
	for _, text := range []string{"export A=1; exec sleep 0.1", "export A=1; exit 0", "exec /no/such/shell"} {
		profile(text + "\n")
		var warnings []string
		got := h.run(sh("echo [$A]"), runclient.Streams{}, runclient.Options{Warn: func(s string) { warnings = append(warnings, s) }})
		if got.outcome() != "exit 0" || len(warnings) != 1 || !strings.Contains(warnings[0], "not in effect") {
			t.Errorf("with %q: %s, %q, warnings %q", text, got.outcome(), got.out, warnings)
		}
	}
}

func TestLocaleOfTheClientIsForWhatTheLoginDoesNotSay(t *testing.T) {
	h, profile := profiled(t)
	var env []string
	for _, kv := range h.env {
		if !strings.HasPrefix(kv, "LANG") && !strings.HasPrefix(kv, "LC_") {
			env = append(env, kv)
		}
	}
	h.env = env
	spec := sh("echo $LANG $LC_TIME $PATH2")
	spec.Locale = []string{"LANG=C.UTF-8", "LC_TIME=en_DK.UTF-8", "PATH2=/evil", "LC_ALL="}
	if got := h.run(spec, runclient.Streams{}, runclient.Options{}); got.out != "C.UTF-8 en_DK.UTF-8\n" {
		t.Errorf("got %q, %v", got.out, got.err)
	}
	profile("export LANG=C")
	spec.Env = []string{"LC_TIME=C"}
	if got := h.run(spec, runclient.Streams{}, runclient.Options{}); got.out != "C C\n" {
		t.Errorf("with a login that says its own: got %q, %v", got.out, got.err)
	}
}

func TestANewGroupIsThereForTheNextRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to change groups")
	}
	h := newHost(t)
	h.lease("a")
	id := func() string {
		return strings.TrimSpace(h.run(sh("id -G"), runclient.Streams{}, runclient.Options{}).out)
	}
	h.user = &syscall.Credential{Uid: 0, Gid: 0, Groups: []uint32{0, 4}}
	if got := id(); got != "0 4" {
		t.Errorf("groups are %q", got)
	}
	h.user = &syscall.Credential{Uid: 0, Gid: 0, Groups: []uint32{0, 4, 12}}
	if got := id(); got != "0 4 12" {
		t.Errorf("after the user came into a group: %q", got)
	}
}
