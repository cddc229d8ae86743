package prepare

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/sanitize"
)

// A Shell runs a command on the machine.
type Shell interface {
	// Run runs command with stdin to its end. That it ends with another exit code than 0 is no error.
	Run(ctx context.Context, command string, stdin []byte) (Output, error)
}

// An Output is what a command printed, and its exit code.
type Output struct {
	Stdout, Stderr string
	Exit           int
}

// Over returns the Shell at the other end of an SSH connection.
func Over(c *reach.Client) Shell { return overSSH{c} }

type overSSH struct{ c *reach.Client }

// maxOutput bounds what is kept of what a script prints; a screenful says enough.
const maxOutput = 64 << 10

func (s overSSH) Run(ctx context.Context, command string, stdin []byte) (Output, error) {
	stdout, stderr := head{max: maxOutput}, head{max: maxOutput}
	exit, err := s.c.Shell(ctx, reach.ShellSpec{Command: command, Stdin: bytes.NewReader(stdin), Stdout: &stdout, Stderr: &stderr})
	return Output{Stdout: stdout.String(), Stderr: stderr.String(), Exit: exit}, err
}

type head struct {
	bytes.Buffer
	max int
}

// Write keeps the beginning and takes everything.
func (h *head) Write(b []byte) (int, error) {
	if room := h.max - h.Len(); room > 0 {
		h.Buffer.Write(b[:min(len(b), room)])
	}
	return len(b), nil
}

// As says who executes a script.
type As int

// Who can execute a script.
const (
	AsUser    As = iota // the login
	AsRoot              // root
	AsConsole           // the login's user, inside the session at the screen (macOS)
)

// A Script is text for the machine's shell: sh, on Windows PowerShell.
type Script struct {
	Text string
	As   As
}

// A Sudo is how root is become.
type Sudo string

// The ways to become root.
const (
	SudoNone     Sudo = "none"     // not at all
	SudoFree     Sudo = "sudo"     // sudo -n
	SudoPassword Sudo = "password" // sudo with the login's password
	SudoRoot     Sudo = "root"     // the login is root
)

// Power is who the login is and what it may do.
type Power struct {
	User string
	UID  string
	Sudo Sudo
}

// Root tells whether scripts can be executed as root.
func (p Power) Root() bool { return p.Sudo != SudoNone && p.Sudo != "" }

// command returns the command line for a script, and what goes before the script on its
// standard input. Nothing on the line comes from outside but the name of the user.
func (p Power) command(s Script, os string, password machine.Secret) (line, before string) {
	if os == "windows" {
		return "powershell -NoProfile -NonInteractive -Command -", ""
	}
	line = "/bin/sh -s"
	if s.As == AsConsole {
		// launchctl(1), asuser: the bootstrap namespace and the security session of
		// the user; the credentials stay root's, so sudo takes those back.
		line = fmt.Sprintf("/bin/launchctl asuser %s %s -n -H -u %s /bin/sh -s", p.UID, sudoPath, quote(p.User))
	}
	if s.As == AsUser {
		return line, ""
	}
	switch p.Sudo {
	case SudoFree:
		line = sudoPath + " -n -- " + line
	case SudoPassword:
		// -k: also if it was given a moment ago, so that the line is always read.
		// sudo reads it byte by byte and leaves the rest to the shell.
		line = sudoPath + " -k -S -p '' -- " + line
		before = password.Reveal() + "\n"
	}
	return cleanly + line, before
}

// Root is become by programs at known places, in an environment that the login's start files
// have no part in: sudo hands PATH on where sudoers sets none (sudoers(5), secure_path).
const (
	sudoPath   = "/usr/bin/sudo"
	systemPath = "/usr/bin:/bin:/usr/sbin:/sbin"
	cleanly    = "exec /usr/bin/env -i PATH=" + systemPath + " "
)

// quote quotes s for any Unix shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// maxValue bounds one value; the longest are paths.
const maxValue = 4096

// parse reads the lines "word=value" that a look prints. What a machine says is fit to be shown from here on.
func parse(stdout string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(stdout) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			values[k] = sanitize.Line(strings.TrimSpace(v), maxValue)
		}
	}
	return values
}

// maxWords bounds what of a machine's words a condition shows.
const maxWords = 400

// words returns the end of what a script said, on one line.
func words(out Output) string {
	text := strings.Join(strings.Fields(out.Stderr), " ")
	if len(text) > maxWords {
		text = "… " + strings.ToValidUTF8(text[len(text)-maxWords:], "")
	}
	return sanitize.Line(text, 2*maxWords)
}
