package runs

import (
	"bytes"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
)

func tmpVars(dir string) []string { return []string{"TMPDIR=" + dir, "TMP=" + dir, "TEMP=" + dir} }

// rooted tells whether path begins at the root of the system drive: \workspace.
func rooted(path string) bool { return strings.HasPrefix(path, `\`) }

// script returns how to execute a script. Its first line is "#!win" and the
// interpreter, as in Tekton; without an interpreter it is a batch file. The line
// is left out of what is executed.
func script(content []byte, run disk.RunDir) (interpreter []string, path string, rest []byte, err error) {
	line, rest, _ := bytes.Cut(content, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) == 0 || words[0] != "#!win" {
		return nil, "", nil, fault.New(fault.BadScript, "script: first line is %q, want one that begins with #!win", line[:min(len(line), 80)]).
			WithRemedy("Start the script with a line such as #!win powershell.exe -File")
	}
	name := "script.cmd"
	if len(words) > 1 {
		name = "script"
		base := strings.TrimSuffix(strings.ToLower(filepath.Base(words[1])), ".exe")
		switch base {
		case "powershell", "pwsh":
			name = "script.ps1"
		case "cmd":
			name = "script.cmd"
		}
	}
	return words[1:], filepath.Join(string(run), name), rest, nil
}
