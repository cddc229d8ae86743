package imagebuild

import (
	"strconv"
	"strings"
	"testing"
)

// trace makes what a helper writes: "fail 1 0 eh | false | /d/script:3 /d/bash.sh:31", a record each.
func trace(lines ...string) []byte {
	var b strings.Builder
	for _, l := range lines {
		parts := strings.Split(l, " | ")
		b.WriteString(strings.ReplaceAll(parts[0], " ", fieldEnd) + fieldEnd + parts[1] + fieldEnd + strings.ReplaceAll(parts[2], " ", fieldEnd) + recordEnd)
	}
	return []byte(b.String())
}

// TestBlame has what bash 3.2.48 wrote, which macOS's is, and what others do that is not in their
// own tests.
func TestBlame(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		trace        []byte
		code         int
		tail, want   string
	}{
		{
			"3.2 tells where a function begins",
			"echo hi\nf() {\n  true\n  ls --no\n}\nf",
			trace("fail 2 0 ehBEc | ls --no | /d/script:2 /d/script:6 /d/bash.sh:31"), 2, "",
			"script: line 4: ls --no: called from line 6: exit code 2",
		},
		{
			"3.2 tells the last line of a command",
			"true\nls \\\n  --no \\\n  -l",
			trace("fail 2 0 ehBEc | ls --no -l | /d/script:4 /d/bash.sh:31"), 2, "",
			"script: line 2: ls --no -l: exit code 2",
		},
		{
			"3.2 tells nothing of the command that a subshell is",
			"true\n(\n  true\n  exit 3\n)",
			trace("exit 3 1 ehBEc | exit 3 | /d/bash.sh:23 /d/script:4 /d/bash.sh:31", "fail 3 0 ehBEc | true | /d/bash.sh:31"), 3, "",
			"script: line 4: exit 3: exit code 3",
		},
		{
			"exits of a trap come after the end",
			"x=1\nfalse\n",
			trace("fail 1 0 ehBEc | false | /d/script:2 /d/bash.sh:31", "exit 1 0 ehBEc | exit 1 | /d/bash.sh:23 /d/script:1 /d/bash.sh:31"), 1, "",
			"script: line 2: false: exit code 1",
		},
		{
			"a subshell that failed and was minded is not what ended it",
			"if (exit 1); then :; fi\n\n\nfalse",
			trace("exit 1 1 ehBEc | exit 1 | /d/bash.sh:23 /d/script:1 /d/bash.sh:31", "fail 1 0 ehBEc | false | /d/script:4 /d/bash.sh:31"), 1, "",
			"script: line 4: false: exit code 1",
		},
		{
			"what failed with another code is not it",
			"false\n\nexit 9",
			trace("fail 1 0 hBEc | false | /d/script:1 /d/bash.sh:31"), 9, "",
			"script: exit code 9",
		},
		{
			"a shell's own words",
			"a\nb\nc",
			nil, 1, "x\n/d/script: line 1: a: no\n/d/script: line 3: c: unbound variable",
			"script: line 3: c: exit code 1",
		},
		{
			"dash's", "a\nb", nil, 2, "/d/script: 2: b: not found", "script: line 2: b: exit code 2",
		},
		{
			"a line that it does not have", "a\nb", nil, 2, "/d/script: 20: b: not found", "script: exit code 2",
		},
		{
			"a helper's line is none", "a\nb",
			trace("fail 126 0 e |  | /d/zsh.sh:23 zsh:1"), 126, "", "script: exit code 126",
		},
		{
			"PowerShell's", "a\nb",
			trace("fail 1 0 e | b | /d/script:2 run.ps1:0"), 1, "", "script: line 2: b: exit code 1",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := blame(tt.trace, "/d/script", []byte(tt.script), tt.code, tt.tail).Error(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestWindowsPathsAreComparedAsWeNameThem(t *testing.T) {
	b := trace(`fail 1 0 e | b | C:\d\script.ps1:2 run.ps1:0`)
	if got := blame(b, "C:/d/script.ps1", []byte("a\nb"), 1, "").Line; got != 2 {
		t.Errorf("line %d, want 2", got)
	}
}

func TestWhoExecutesAScript(t *testing.T) {
	for _, tt := range []struct{ script, shell, want string }{
		{"true", "", "sh -c . \"$1\" /d/script /d/sh.sh /d/trace /d/bash.sh bash"},
		{"#!/bin/sh\ntrue", "", "/bin/sh -c . \"$1\" /d/script /d/sh.sh /d/trace /d/bash.sh "},
		{"#!/bin/bash -eu\ntrue", "", "/bin/bash -eu -c . \"$1\" /d/script /d/bash.sh /d/trace"},
		{"#!/usr/bin/env -S bash -x\ntrue", "", "/usr/bin/env -S bash -x -c . \"$1\" /d/script /d/bash.sh /d/trace"},
		{"#! /bin/zsh\ntrue", "bash", "/bin/zsh -c . \"$1\" /d/script /d/zsh.sh /d/trace /d/script"},
		{"true", "/opt/homebrew/bin/bash", "/opt/homebrew/bin/bash -c . \"$1\" /d/script /d/bash.sh /d/trace"},
		{"#!/usr/bin/env python3\npass", "", "/usr/bin/env python3 /d/script"},
		{"print 1", "perl -w", "perl -w /d/script"},
	} {
		c, err := unixCommand([]byte(tt.script), tt.shell)
		if err != nil {
			t.Errorf("%q: %v", tt.script, err)
		} else if got := strings.Join(c.argv("/d"), " "); got != tt.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.script, got, tt.want)
		}
	}
	for _, bad := range []string{"#!/bin/sh\r\ntrue\r\n", "#!\ntrue"} {
		if _, err := unixCommand([]byte(bad), ""); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
	for _, tt := range []struct{ script, want, content string }{
		{"ls", "powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File C:/d/run.ps1 C:/d/script.ps1 C:/d/trace", "ls"},
		{"#!win pwsh -File\nls", "pwsh -NoProfile -NonInteractive -ExecutionPolicy Bypass -File C:/d/run.ps1 C:/d/script.ps1 C:/d/trace", "#!win pwsh -File\nls"},
		{"#!win\ndir", `cmd.exe /c C:\d\script.cmd`, "@rem #!win\ndir"},
		{"#!win python\nx", `python C:\d\script`, "#!win python\nx"},
	} {
		c, err := windowsCommand([]byte(tt.script), "")
		if err != nil {
			t.Errorf("%q: %v", tt.script, err)
		} else if got := strings.Join(c.argv("C:/d"), " "); got != tt.want || string(c.content) != tt.content {
			t.Errorf("%q:\ngot  %s, %q\nwant %s, %q", tt.script, got, c.content, tt.want, tt.content)
		}
	}
	if _, err := windowsCommand([]byte("#!/bin/sh\ntrue"), ""); err == nil {
		t.Error("a Unix script on Windows: accepted")
	}
}

// FuzzBlame holds that whatever a machine sends, the line is one of the script's, or none.
func FuzzBlame(f *testing.F) {
	f.Add(trace("fail 1 0 e | x | /d/script:1 /d/bash.sh:3"), "a\nb", 1, "/d/script: line 2: x")
	f.Add(trace("exit 3 1 e | ( | /d/script:2 /o:1 x:1", "fail 3 0 e | ( | s:1"), "a\\\nb\\\n", 3, "")
	f.Fuzz(func(t *testing.T, b []byte, script string, code int, tail string) {
		e := blame(b, "/d/script", []byte(script), code, tail)
		if lines := strings.Count(script, "\n") + 1; e.Line < 0 || e.Line > lines {
			t.Errorf("line %s of %d", strconv.Itoa(e.Line), lines)
		}
		if strings.Contains(e.Error(), "\n") {
			t.Errorf("more than one line: %q", e.Error())
		}
	})
}
