//go:build unix

package runs

import (
	"bytes"
	"path/filepath"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
)

func tmpVars(dir string) []string { return []string{"TMPDIR=" + dir} }

// rooted is for Windows only: here a path is absolute or not.
func rooted(string) bool { return false }

// script returns how to execute a script: directly, by its first line.
func script(content []byte, run disk.RunDir) (interpreter []string, path string, _ []byte, err error) {
	if !bytes.HasPrefix(content, []byte("#!")) {
		first, _, _ := bytes.Cut(content[:min(len(content), 80)], []byte("\n"))
		return nil, "", nil, fault.New(fault.BadScript, "script: first line is %q, want an interpreter line", first)
	}
	if line, _, _ := bytes.Cut(content, []byte("\n")); bytes.HasSuffix(line, []byte("\r")) {
		return nil, "", nil, fault.New(fault.BadScript, "script: its lines end as on Windows (CR LF), which %q cannot execute", bytes.TrimSpace(line)).
			WithRemedy("Save the script with Unix line ends.")
	}
	return nil, filepath.Join(string(run), "script"), content, nil
}
