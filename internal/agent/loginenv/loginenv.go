// Package loginenv finds the environment that the user would have after logging
// in. What sshd gives to a command has no profile behind it: on macOS it lacks
// most of PATH.
package loginenv

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
)

// marker begins the environment in what a login shell prints; whatever
// its profile prints comes before.
const marker = "\x00outrigger-environment\x00"

// Dump writes this process's environment so that [Read] finds it. The agent
// does this itself, because not every system's env(1) can separate by zeros.
func Dump(w io.Writer) error {
	_, err := io.WriteString(w, marker+strings.Join(os.Environ(), "\x00")+marker)
	return err
}

// parse finds the environment in out; ok is false when it is not all there.
func parse(out []byte) (env []string, ok bool) {
	end := bytes.LastIndex(out, []byte(marker))
	if end < 0 {
		return nil, false
	}
	begin := bytes.LastIndex(out[:end], []byte(marker))
	if begin < 0 {
		return nil, false
	}
	for _, kv := range strings.Split(string(out[begin+len(marker):end]), "\x00") {
		if k, _, found := strings.Cut(kv, "="); found && k != "" {
			env = append(env, kv)
		}
	}
	return clean(env), true
}

// clean drops what belongs to the session or the shell that printed it, and
// would mislead a run that has neither.
func clean(env []string) []string {
	return slices.DeleteFunc(env, func(kv string) bool {
		k, _, _ := strings.Cut(kv, "=")
		switch k {
		case "_", "SHLVL", "PWD", "OLDPWD", "TERM":
			return true
		}
		return strings.HasPrefix(k, "SSH_")
	})
}
