// Package loginenv finds the environment that the user would have after logging
// in, with the umask and the limits that go with it. What sshd gives to a command has no
// profile behind it: on macOS it lacks most of PATH.
package loginenv

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"outrigger.dev/outrigger/internal/agent/proc"
)

// A Login is what a process has after a login.
type Login struct {
	Env   []string
	Umask *int // nil: that of this process
	// Limits are those in which a login differs from this process.
	Limits []proc.Limit
}

// marker begins the environment in what a login shell prints; whatever
// its profile prints comes before.
const marker = "\x00outrigger-environment\x00"

// Entries of the dump that are no variables: no variable's name is empty.
const (
	umaskEntry = "=umask="
	limitEntry = "=limit="
)

// Dump writes this process's environment, umask and limits so that [Read] finds them. The agent
// does this itself, because not every system's env(1) can separate by zeros.
func Dump(w io.Writer) error {
	all := append(os.Environ(), umaskEntry+strconv.Itoa(proc.Umask()))
	for _, l := range proc.Limits((*exec.Cmd).Run) {
		all = append(all, limitEntry+l.String())
	}
	_, err := io.WriteString(w, marker+strings.Join(all, "\x00")+marker)
	return err
}

// parse finds the dump in out; ok is false when it is not all there.
func parse(out []byte) (login Login, ok bool) {
	end := bytes.LastIndex(out, []byte(marker))
	if end < 0 {
		return Login{}, false
	}
	begin := bytes.LastIndex(out[:end], []byte(marker))
	if begin < 0 {
		return Login{}, false
	}
	for _, kv := range strings.Split(string(out[begin+len(marker):end]), "\x00") {
		if word, found := strings.CutPrefix(kv, umaskEntry); found {
			if n, err := strconv.Atoi(word); err == nil && n >= 0 && n <= 0o777 {
				login.Umask = &n
			}
			continue
		}
		if word, found := strings.CutPrefix(kv, limitEntry); found {
			if l, ok := proc.ParseLimit(word); ok {
				login.Limits = append(login.Limits, l)
			}
			continue
		}
		if k, _, found := strings.Cut(kv, "="); found && k != "" {
			login.Env = append(login.Env, kv)
		}
	}
	login.Env = clean(login.Env, os.Environ())
	return login, true
}

// clean drops what belongs to the session or the shell that printed it, and
// would mislead a run that has neither. Of SSH's variables these are those that sshd sets; one that a
// profile sets, such as SSH_AUTH_SOCK of a password manager, is the user's. own is the
// environment that the shell began with.
func clean(env, own []string) []string {
	forwarded := ""
	if proc.Getenv(own, "SSH_CONNECTION") != "" {
		forwarded = proc.Getenv(own, "SSH_AUTH_SOCK") // sshd's, which ends with the connection
	}
	return slices.DeleteFunc(env, func(kv string) bool {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "_", "SHLVL", "PWD", "OLDPWD", "TERM",
			"SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY", "SSH_ORIGINAL_COMMAND", "SSH_USER_AUTH":
			return true
		case "SSH_AUTH_SOCK":
			return v == "" || v == forwarded
		}
		return false
	})
}

// differing leaves out of a login's limits those that own has, too.
func differing(login, own []proc.Limit) []proc.Limit {
	return slices.DeleteFunc(login, func(l proc.Limit) bool { return slices.Contains(own, l) })
}
