package loginenv

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/agent/proc"
)

func TestParse(t *testing.T) {
	t.Setenv("SSH_CONNECTION", "1 2 3 4")
	t.Setenv("SSH_AUTH_SOCK", "/tmp/forwarded")
	umask := 2
	for _, tt := range []struct {
		name, in string
		want     Login
		ok       bool
	}{
		{"the profile talks before and after", "hello\n" + marker + "A=1\x00B=x\ny\x00SHLVL=2\x00SSH_TTY=x" + marker + "bye\n",
			Login{Env: []string{"A=1", "B=x\ny"}}, true},
		{"cut off", "hello\n" + marker + "A=1\x00B=", Login{}, false},
		{"nothing", "hello\n", Login{}, false},
		{"what is no variable is left out", marker + "=x\x00novalue\x00A=" + marker, Login{Env: []string{"A="}}, true},
		{"what sshd sets is dropped, what a profile sets is not",
			marker + "SSH_CLIENT=x\x00SSH_CONNECTION=x\x00SSH_AUTH_SOCK=/run/own\x00SSH_ASKPASS=/bin/ask\x00SSHPASS=y" + marker,
			Login{Env: []string{"SSH_AUTH_SOCK=/run/own", "SSH_ASKPASS=/bin/ask", "SSHPASS=y"}}, true},
		{"an agent that is forwarded ends with the connection", marker + "SSH_AUTH_SOCK=/tmp/forwarded" + marker, Login{}, true},
		{"umask and limits", marker + "=umask=2\x00=limit=7:777:1024\x00=limit=x\x00=umask=99999\x00A=1" + marker,
			Login{Env: []string{"A=1"}, Umask: &umask, Limits: []proc.Limit{{Resource: 7, Soft: 777, Hard: 1024}}}, true},
	} {
		got, ok := parse([]byte(tt.in))
		if len(got.Env) == 0 {
			got.Env = nil
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok {
			t.Errorf("%s: ok is %t, want %t; (-want +got):\n%s", tt.name, ok, tt.ok, diff)
		}
	}
}

func TestCacheAsksAgainWhenAProfileChanges(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	now, asked := time.Unix(1000, 0), 0
	c := Cache{Now: func() time.Time { return now }, Ask: func(context.Context) (Login, string) { asked++; return Login{}, "" }}
	get := func(what string, want int) {
		t.Helper()
		if c.Get(t.Context()); asked != want {
			t.Errorf("%s: asked %d times, want %d", what, asked, want)
		}
	}
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	get("first", 1)
	get("at once again", 1)
	write(".zprofile", "export A=1")
	get("a new profile", 2)
	write(".zprofile", "export A=1 B=2")
	get("a changed profile", 3)
	write(".config/fish/conf.d/x.fish", "set A 1")
	get("a new file in a folder", 4)
	get("nothing new", 4)
	now = now.Add(maxAge + time.Second)
	get("later", 5)
	if err := os.Remove(filepath.Join(home, ".zprofile")); err != nil {
		t.Fatal(err)
	}
	get("a profile that was removed", 6)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("x" + marker + "A=1" + marker))
	f.Add([]byte(marker))
	f.Fuzz(func(t *testing.T, in []byte) { parse(in) }) // only a panic is wrong here
}
