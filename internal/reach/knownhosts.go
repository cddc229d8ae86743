package reach

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // what OpenSSH hashes the names in known_hosts with
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// knownHosts is what known_hosts files say, read as OpenSSH does (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
// The library's own reading differs: one line that it cannot read makes the file useless to it, a key that
// is revoked for one host is so for all, and "*" does not stand for a host at another port than 22.
type knownHosts struct {
	lines   []knownLine
	skipped []string // "FILE:LINE" of lines, and files, that cannot be read
}

// The markers of lines that do not simply say that a key is right.
const (
	authorityMark = "cert-authority"
	revokedMark   = "revoked"
)

// A knownLine is a line of such a file.
type knownLine struct {
	marker string
	names  []string // patterns, or one hashed name
	key    ssh.PublicKey
	file   string
	line   int
}

func (l *knownLine) place() string { return fmt.Sprintf("%s:%d", l.file, l.line) }

// readKnownHosts reads known_hosts files. What cannot be read, be it a whole file or a line that is cut short
// or of a kind of tomorrow, is skipped: it says nothing of the other hosts.
func readKnownHosts(files []string) *knownHosts {
	k := &knownHosts{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			k.skipped = append(k.skipped, file)
			continue
		}
		k.read(file, b)
	}
	return k
}

func (k *knownHosts) read(file string, content []byte) {
	n := 0
	for text := range bytes.Lines(content) {
		n++
		text = bytes.TrimSpace(text)
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		l := knownLine{file: file, line: n}
		var err error
		l.marker, l.names, l.key, _, _, err = ssh.ParseKnownHosts(text)
		if err != nil || l.marker != "" && l.marker != authorityMark && l.marker != revokedMark {
			k.skipped = append(k.skipped, l.place())
			continue
		}
		k.lines = append(k.lines, l)
	}
}

// unread says what was skipped: the host that is looked for may stand there.
func (k *knownHosts) unread() string {
	switch n := len(k.skipped); {
	case n == 0:
		return ""
	case n > 3:
		return fmt.Sprintf(" (skipped unreadable lines: %s and %d more)", strings.Join(k.skipped[:3], ", "), n-3)
	}
	return fmt.Sprintf(" (skipped unreadable lines: %s)", strings.Join(k.skipped, ", "))
}

// knownNames are what a host is called in known_hosts, by address HOST:PORT: with the port, "[HOST]:PORT" unless
// it is 22, and without; "" if that is the same.
func knownNames(address string) (name, portless string) {
	name = strings.ToLower(knownhosts.Normalize(address))
	if rest, ok := strings.CutPrefix(name, "["); ok {
		portless, _, _ = strings.Cut(rest, "]")
	}
	return name, portless
}

// of returns the lines about a host of that name.
func (k *knownHosts) of(name string) []knownLine {
	var found []knownLine
	for _, l := range k.lines {
		if name != "" && l.matches(name) {
			found = append(found, l)
		}
	}
	return found
}

// matches tells whether a line is about the host of that name, "HOST" or "[HOST]:PORT". Patterns are held
// against the whole of it, and one that begins with "!" outdoes all others.
func (l *knownLine) matches(name string) bool {
	if strings.HasPrefix(l.names[0], "|") {
		return isHashOf(l.names[0], name)
	}
	found := false
	for _, pattern := range l.names {
		pattern, not := strings.CutPrefix(strings.ToLower(pattern), "!")
		if !matchName(pattern, name) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

// matchName matches with "*" and "?", which stand for any bytes.
func matchName(pattern, name string) bool {
	// As path.Match does with what means nothing to known_hosts, and slashes, taken out of its way.
	quoted := strings.NewReplacer(`\`, `\\`, "[", `\[`, "/", "\x00").Replace(pattern)
	ok, err := path.Match(quoted, strings.ReplaceAll(name, "/", "\x00"))
	return ok && err == nil
}

// isHashOf tells whether hashed, "|1|SALT|HASH", is name.
func isHashOf(hashed, name string) bool {
	parts := strings.Split(hashed, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	want, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	_, _ = mac.Write([]byte(name)) // a hash never fails
	return hmac.Equal(mac.Sum(nil), want)
}
