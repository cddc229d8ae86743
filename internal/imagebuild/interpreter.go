package imagebuild

import (
	_ "embed"
	"path"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/parcel"
)

// What carries a script out so that it can be said which line failed. Each says in its head how
// it is run.
var (
	//go:embed shell/bash.sh
	bashSource []byte
	//go:embed shell/zsh.sh
	zshSource []byte
	//go:embed shell/sh.sh
	shSource []byte
	//go:embed shell/run.ps1
	powershellSource []byte
)

// Names in the folder on the machine.
const (
	traceName = "trace"
	bashName  = "bash.sh"
	zshName   = "zsh.sh"
	shName    = "sh.sh"
	psName    = "run.ps1"
)

// helpers are sent with every script.
func helpers(windows bool) []parcel.Content {
	if windows {
		return []parcel.Content{{Name: psName, Mode: 0o600, Data: powershellSource}}
	}
	return []parcel.Content{
		{Name: bashName, Mode: 0o600, Data: bashSource},
		{Name: zshName, Mode: 0o600, Data: zshSource},
		{Name: shName, Mode: 0o600, Data: shSource},
	}
}

// source reads the helper: a shell counts the lines of functions rightly only in a file.
const source = `. "$1"`

// A command is how a script is executed.
type command struct {
	script  string // its name in the folder
	content []byte
	argv    func(dir string) []string
}

// unixCommand decides by the script's first line, as the kernel would, or by shell where there
// is none. What is no shell of the family is executed as it is.
func unixCommand(script []byte, shell string) (command, error) {
	words := []string{"sh"}
	want := "bash"
	switch first, ok := firstLine(script); {
	case ok && strings.HasSuffix(first, "\r"):
		return command{}, fault.New(fault.BadScript, "script: its lines end as on Windows (CR LF), which %q cannot execute", strings.TrimSpace(first)).
			WithRemedy("Save the script with Unix line ends.")
	case ok:
		if words = strings.Fields(first); len(words) == 0 {
			return command{}, fault.New(fault.BadScript, "script: its first line names no interpreter")
		}
		want = ""
	case shell != "":
		words, want = strings.Fields(shell), ""
	}
	const script0 = "script"
	helper, more := "", func(string) []string { return nil }
	switch interpreter(words) {
	case "bash":
		helper = bashName
	case "zsh":
		helper, more = zshName, func(dir string) []string { return []string{dir + "/" + script0} }
	case "sh", "dash", "ash":
		helper, more = shName, func(dir string) []string { return []string{dir + "/" + bashName, want} }
	}
	return command{script: script0, content: script, argv: func(dir string) []string {
		argv := append([]string(nil), words...)
		if helper == "" {
			return append(argv, dir+"/"+script0)
		}
		argv = append(argv, "-c", source, dir+"/"+script0, dir+"/"+helper, dir+"/"+traceName)
		return append(argv, more(dir)...)
	}}, nil
}

// interpreter is the program that an interpreter line names: env's argument counts.
func interpreter(words []string) string {
	name := path.Base(words[0])
	if name != "env" {
		return name
	}
	for _, w := range words[1:] {
		if !strings.HasPrefix(w, "-") && !strings.Contains(w, "=") {
			return path.Base(w)
		}
	}
	return name
}

// firstLine is what stands behind "#!".
func firstLine(script []byte) (string, bool) {
	rest, ok := strings.CutPrefix(string(script), "#!")
	line, _, _ := strings.Cut(rest, "\n")
	return line, ok
}

// windowsCommand decides likewise; a script is PowerShell's unless its first line, as in Tekton,
// is "#!win" and an interpreter.
func windowsCommand(script []byte, shell string) (command, error) {
	words := strings.Fields(shell)
	if first, ok := firstLine(script); ok {
		words = strings.Fields(first)
		if len(words) == 0 || words[0] != "win" {
			return command{}, fault.New(fault.BadScript, "script: first line is %.60q, want one that begins with #!win", "#!"+first).
				WithRemedy("Start the script with a line such as #!win powershell.exe -File, or with none for PowerShell")
		}
		if words = words[1:]; len(words) == 0 {
			words = []string{"cmd.exe", "/c"}
		}
	}
	name := "script"
	if len(words) == 0 || powershell(words) {
		if len(words) == 0 {
			words = []string{"powershell.exe"}
		}
		return command{script: "script.ps1", content: script, argv: func(dir string) []string {
			return []string{words[0], "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File",
				dir + "/" + psName, dir + "/script.ps1", dir + "/" + traceName}
		}}, nil
	}
	if strings.HasPrefix(strings.ToLower(path.Base(words[0])), "cmd") {
		name = "script.cmd"
		if _, ok := firstLine(script); ok {
			script = append([]byte("@rem "), script...) // the other lines keep their numbers
		}
	}
	return command{script: name, content: script, argv: func(dir string) []string {
		return append(append([]string(nil), words...), strings.ReplaceAll(dir+"/"+name, "/", `\`))
	}}, nil
}

// powershell tells whether PowerShell executes a file without arguments of the user's.
func powershell(words []string) bool {
	name := strings.TrimSuffix(strings.ToLower(path.Base(strings.ReplaceAll(words[0], `\`, "/"))), ".exe")
	return name == "powershell" || name == "pwsh"
}
