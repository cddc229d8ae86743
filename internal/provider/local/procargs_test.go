//go:build linux || darwin

package local

import (
	"encoding/binary"
	"strings"
	"testing"
)

// procargs builds what the macOS kernel would tell.
func procargs(argc uint32, parts ...string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, argc)
	return append(b, strings.Join(parts, "\x00")...)
}

func TestParseProcargs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		args    []byte
		exe     string
		environ string
		ok      bool
	}{
		{"a shell", procargs(3, "/bin/sh", "", "", "", "sh", "-c", "sleep 1", "HOME=/x", "OUTRIGGER_MACHINE=/m", ""), "/bin/sh", "HOME=/x\x00OUTRIGGER_MACHINE=/m\x00", true},
		{"no environment", procargs(1, "/bin/ls", "", "ls", ""), "/bin/ls", "", true},
		{"no arguments", procargs(0, "/bin/ls", "", "A=b", ""), "/bin/ls", "A=b\x00", true},
		{"fewer arguments than it says", procargs(9, "/bin/ls", "", "ls", ""), "", "", false},
		{"a path without an end", procargs(1, "/bin/ls"), "", "", false},
		{"nothing", nil, "", "", false},
	} {
		exe, environ, ok := parseProcargs(tt.args)
		if exe != tt.exe || string(environ) != tt.environ || ok != tt.ok {
			t.Errorf("%s: got %q, %q, %v; want %q, %q, %v", tt.name, exe, environ, ok, tt.exe, tt.environ, tt.ok)
		}
	}
}

func FuzzParseProcargs(f *testing.F) {
	f.Add(procargs(2, "/bin/sh", "", "sh", "-c", "A=b", ""))
	f.Add(procargs(1<<31, "/", ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		exe, environ, ok := parseProcargs(b)
		if len(exe)+len(environ) > len(b) || !ok && exe != "" {
			t.Errorf("got %q, %q, %v from %q", exe, environ, ok, b)
		}
	})
}

func TestBelongs(t *testing.T) {
	env := func(vars ...string) []byte { return []byte(strings.Join(vars, "\x00") + "\x00") }
	for _, tt := range []struct {
		name    string
		exe     string
		environ []byte
		want    bool
	}{
		{"what carries the mark", "/bin/sleep", env("A=b", Marker+"=/s/local/a"), true},
		{"a program that lies there", "/s/local/a/home/x", nil, true},
		{"what carries another machine's mark", "/bin/sleep", env(Marker + "=/s/local/ab"), false},
		{"a program on another machine", "/s/local/ab/home/x", nil, false},
		{"what only speaks of the mark", "/bin/sleep", env("X=" + Marker + "=/s/local/a"), false},
		{"anything else", "/bin/sleep", env("HOME=/s/local/a"), false},
	} {
		if got := belongs("/s/local/a", tt.exe, tt.environ); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
