package reach

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"outrigger.dev/outrigger/internal/fault"
)

// knownFiles is what known_hosts files say.
type knownFiles struct {
	callback    ssh.HostKeyCallback
	authorities bool              // some line names a certificate authority
	skipped     []string          // "FILE:LINE" of lines that cannot be read
	names       map[string]string // of a copy without such lines: the file it was made from
}

// readKnownHosts reads known_hosts files. One that does not exist is empty, and a line that cannot
// be read, because it is cut short or of a kind of tomorrow, is skipped, as OpenSSH does (sshd(8),
// SSH_KNOWN_HOSTS FILE FORMAT): it says nothing of the other hosts.
func readKnownHosts(files []string) (*knownFiles, error) {
	k := &knownFiles{names: map[string]string{}}
	var err error
	var usable []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fault.New(fault.LocalFile, "known hosts file %s: %w", file, pathless(err))
		}
		k.authorities = k.authorities || hasAuthority(b)
		if _, err := knownhosts.New(file); err != nil {
			part, err := k.readableCopy(file, b)
			if err != nil {
				return nil, fault.New(fault.LocalFile, "known hosts file %s: make a copy without unreadable lines: %w", file, err)
			}
			defer os.Remove(part)
			k.names[part], file = file, part
		}
		usable = append(usable, file)
	}
	if k.callback, err = knownhosts.New(usable...); err != nil {
		return nil, fault.New(fault.LocalFile, "known hosts: %w", err)
	}
	return k, nil
}

// readableCopy makes a temporary file of what the library can read of file, with the same line numbers.
func (k *knownFiles) readableCopy(file string, content []byte) (name string, err error) {
	f, err := os.CreateTemp("", "outrigger-known-hosts-")
	if err != nil {
		return "", err
	}
	name = f.Name()
	defer func() {
		if err != nil {
			os.Remove(name)
		}
	}()
	if err := f.Close(); err != nil {
		return "", err
	}
	lines := bytes.Split(content, []byte("\n"))
	bad, err := blankUnreadable(name, lines, 1)
	if err != nil {
		return "", err
	}
	for _, n := range bad {
		k.skipped = append(k.skipped, fmt.Sprintf("%s:%d", file, n))
	}
	return name, os.WriteFile(name, bytes.Join(lines, []byte("\n")), 0o600)
}

// blankUnreadable empties those lines that the library cannot read and returns their numbers, the
// first line being number first. The library reads whole files only, so that halves are tried
// until single lines are left; scratch is where they are written.
func blankUnreadable(scratch string, lines [][]byte, first int) (bad []int, err error) {
	if err := os.WriteFile(scratch, bytes.Join(lines, []byte("\n")), 0o600); err != nil {
		return nil, err
	}
	if _, err := knownhosts.New(scratch); err == nil {
		return nil, nil
	}
	if len(lines) == 1 {
		lines[0] = nil
		return []int{first}, nil
	}
	half := len(lines) / 2
	bad, err = blankUnreadable(scratch, lines[:half], first)
	if err != nil {
		return nil, err
	}
	more, err := blankUnreadable(scratch, lines[half:], first+half)
	return append(bad, more...), err
}

// file is the name of the user's file that the library read under name.
func (k *knownFiles) file(name string) string {
	if file, ok := k.names[name]; ok {
		return file
	}
	return name
}

// unread says which lines were skipped: the host that is looked for may stand there.
func (k *knownFiles) unread() string {
	switch n := len(k.skipped); {
	case n == 0:
		return ""
	case n > 3:
		return fmt.Sprintf(" (skipped unreadable lines: %s and %d more)", strings.Join(k.skipped[:3], ", "), n-3)
	}
	return fmt.Sprintf(" (skipped unreadable lines: %s)", strings.Join(k.skipped, ", "))
}

// hasAuthority tells whether a line names a certificate authority.
func hasAuthority(file []byte) bool {
	for line := range bytes.Lines(file) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte("@cert-authority")) {
			return true
		}
	}
	return false
}
