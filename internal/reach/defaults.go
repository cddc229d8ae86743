package reach

import (
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/machine"
)

// DefaultAuth returns the ways to log in that ssh itself would try for the
// user with this home: the SSH agent, and the usual key files as far as they
// are there and have no passphrase.
func DefaultAuth(home string) machine.Auth {
	auth := machine.Auth{Agent: true}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		file := filepath.Join(home, ".ssh", name)
		pem, err := os.ReadFile(file)
		if err != nil {
			continue // nobody named it, so it may be missing
		}
		if _, err := ssh.ParsePrivateKey(pem); err == nil {
			auth.KeyFiles = append(auth.KeyFiles, file)
		}
	}
	return auth
}

// DefaultKnownHosts returns the files in which ssh itself would look for host keys.
func DefaultKnownHosts(home string) []string {
	own := filepath.Join(home, ".ssh")
	return []string{
		filepath.Join(own, "known_hosts"), filepath.Join(own, "known_hosts2"), "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2",
	}
}
