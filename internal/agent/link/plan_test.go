package link

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
)

// words shows a plan as lines.
func words(steps []Step, rewrite bool, err error) string {
	if err != nil {
		return string(fault.Of(err))
	}
	if rewrite {
		return "rewrite"
	}
	var lines []string
	for _, s := range steps {
		line := fmt.Sprintf("%s %s", s.Op, s.Path)
		if s.Target != "" {
			line += " -> " + s.Target
		}
		if s.Root {
			line += " as root"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestPlan(t *testing.T) {
	const target = "/r/leases/a/work"
	for _, tt := range []struct {
		name string
		os   string
		path string
		f    Facts
		want string
	}{
		{"linux, root folder, root", "linux", "/workspace", Facts{Power: AsRoot},
			"symlink /workspace -> /r/leases/a/work as root"},
		{"linux, missing parents are made", "linux", "/workspace/src/x", Facts{Power: AsSudo},
			"mkdir /workspace as root\nmkdir /workspace/src as root\nsymlink /workspace/src/x -> /r/leases/a/work as root"},
		{"linux, a folder of the user's needs no root", "linux", "/home/u/ws/x",
			Facts{Power: AsUser, At: map[string]Found{"/home": Dir, "/home/u": Dir}, Writable: map[string]bool{"/home/u": true}},
			"mkdir /home/u/ws\nsymlink /home/u/ws/x -> /r/leases/a/work"},
		{"linux, without root paths are rewritten", "linux", "/workspace", Facts{Power: AsUser}, "rewrite"},
		{"what is there is not touched", "linux", "/etc", Facts{Power: AsRoot, At: map[string]Found{"/etc": Dir}}, "PathTaken"},
		{"a foreign link is not touched", "linux", "/workspace",
			Facts{Power: AsRoot, At: map[string]Found{"/workspace": Link}, Points: map[string]string{"/workspace": "/elsewhere"}}, "PathTaken"},
		{"our own link is there already", "linux", "/workspace",
			Facts{Power: AsRoot, At: map[string]Found{"/workspace": Link}, Points: map[string]string{"/workspace": target}}, ""},
		{"a file in the way", "linux", "/a/b", Facts{Power: AsRoot, At: map[string]Found{"/a": Other}}, "PathTaken"},
		{"windows", "windows", "/workspace/x", Facts{Power: AsUser, Writable: map[string]bool{"/": true}},
			"mkdir /workspace\njunction /workspace/x -> /r/leases/a/work"},
		{"macOS, first time", "darwin", "/workspace", Facts{Power: AsSudo},
			"mkdir /r/at\nsynthetic workspace -> /r/at/workspace as root\nsymlink /r/at/workspace -> /r/leases/a/work"},
		{"macOS, second time needs no root", "darwin", "/workspace",
			Facts{Power: AsUser, Synthetic: map[string]string{"workspace": "/r/at/workspace"}, At: map[string]Found{"/workspace": Link},
				Points: map[string]string{"/workspace": "/r/at/workspace"}},
			"symlink /r/at/workspace -> /r/leases/a/work"},
		{"macOS, another lease's link", "darwin", "/workspace",
			Facts{Power: AsUser, Synthetic: map[string]string{"workspace": "/r/at/workspace"}, At: map[string]Found{"/r/at/workspace": Link},
				Points: map[string]string{"/r/at/workspace": "/r/leases/b/work"}}, "PathTaken"},
		{"macOS, nested", "darwin", "/workspace/src/x", Facts{Power: AsSudo},
			"mkdir /r/at\nsynthetic workspace -> /r/at/workspace as root\nmkdir /r/at/workspace\nmkdir /r/at/workspace/src\nsymlink /r/at/workspace/src/x -> /r/leases/a/work"},
		{"macOS, first part of somebody else's", "darwin", "/workspace",
			Facts{Power: AsSudo, Synthetic: map[string]string{"workspace": "/data"}}, "PathTaken"},
		{"macOS, below a folder that exists", "darwin", "/opt/ws", Facts{Power: AsSudo, At: map[string]Found{"/opt": Dir}},
			"symlink /opt/ws -> /r/leases/a/work as root"},
		{"macOS without root", "darwin", "/workspace", Facts{Power: AsUser}, "rewrite"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := words(Plan(Request{OS: tt.os, Path: tt.path, Target: target, At: "/r/at"}, tt.f))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestClean(t *testing.T) {
	for _, tt := range []struct{ os, path, want string }{
		{"linux", "/workspace/", "/workspace"},
		{"linux", "/a//b/./c", "/a/b/c"},
		{"linux", "workspace", "Usage"},
		{"linux", "/", "Usage"},
		{"linux", "/a/../etc", "Usage"},
		{"linux", "/a/..", "Usage"},
		{"linux", "/a\nb", "Usage"},
		{"windows", `C:\workspace\x`, "/workspace/x"},
		{"windows", "/workspace", "/workspace"},
		{"windows", `D:\x`, "Usage"},
		{"windows", `\\host\share`, "Usage"},
	} {
		got, err := Clean(tt.os, tt.path)
		if err != nil {
			got = string(fault.Of(err))
		}
		if got != tt.want {
			t.Errorf("Clean(%s, %q) = %q, want %q", tt.os, tt.path, got, tt.want)
		}
	}
}

func TestRewrite(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"/workspace", "/r/work"},
		{"/workspace/a", "/r/work/a"},
		{"cd /workspace && make", "cd /r/work && make"},
		{"--out=/workspace/x", "--out=/r/work/x"},
		{"-I/workspace/include -L/workspace", "-I/r/work/include -L/r/work"},
		{"PATH=/bin:/workspace/bin:/usr/bin", "PATH=/bin:/r/work/bin:/usr/bin"},
		{`"/workspace" '/workspace/b'`, `"/r/work" '/r/work/b'`},
		{"file:///workspace/x", "file:///r/work/x"},
		{">/workspace/log 2>/workspace/err", ">/r/work/log 2>/r/work/err"},
		{"$(cat /workspace/v)`ls /workspace`", "$(cat /r/work/v)`ls /r/work`"},
		{"x\n/workspace\ny", "x\n/r/work\ny"},

		{"/workspaces /workspace2 /workspace-old /workspace.bak", "/workspaces /workspace2 /workspace-old /workspace.bak"},
		{"/home/workspace a/workspace ./workspace ~/workspace", "/home/workspace a/workspace ./workspace ~/workspace"},
		{`$HOME/workspace ${HOME}/workspace "$HOME"/workspace`, `$HOME/workspace ${HOME}/workspace "$HOME"/workspace`},
		{"https://host/workspace", "https://host/workspace"},
		{"--I/workspace", "--I/workspace"},
		{"", ""},
	} {
		if got := Rewrite(tt.in, "/workspace", "/r/work"); got != tt.want {
			t.Errorf("Rewrite(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add("cd /workspace && x", "/workspace", "/r")
	f.Add("/w/w/w", "/w", "/w/w")
	f.Fuzz(func(t *testing.T, s, from, to string) {
		if _, err := Clean("linux", from); err != nil {
			return
		}
		got := Rewrite(s, from, to)
		if !strings.Contains(s, from) && got != s {
			t.Errorf("Rewrite(%q, %q) = %q, though there is nothing to rewrite", s, from, got)
		}
		if Rewrite(s, from, from) != s {
			t.Error("rewriting a path to itself changes something")
		}
	})
}
