package reach

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// hostKeys decides whether the machine is the one that was meant. Nothing is
// learned on the way: a key is known beforehand or the connection ends.
type hostKeys struct {
	where      string
	address    string
	algorithms []string // that the handshake may use; in order of preference
	strict     bool     // algorithms holds only what known keys can do
	pinned     []ssh.PublicKey
	known      *knownFiles

	accepted bool         // a key was seen and is right
	refused  *fault.Error // a key was seen and is wrong
}

func newHostKeys(ep machine.Endpoint, where string) (*hostKeys, error) {
	h := &hostKeys{where: where, address: ep.Address()}
	if len(ep.HostKeys) > 0 {
		return h, h.pin(ep.HostKeys)
	}
	return h, h.know(ep.KnownHosts)
}

// pin makes the keys of lines, in authorized_keys format, the only right ones.
func (h *hostKeys) pin(lines []string) error {
	for _, line := range lines {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return fault.New(fault.Config, "%s: host key %q: %w", h.where, line, err).
				WithRemedy(`Pin host keys as the machine prints them: hostKeys: ["ssh-ed25519 AAAA…"]`)
		}
		h.pinned = append(h.pinned, key)
		h.allow(algorithmsOf(key.Type()))
	}
	h.strict = true
	return nil
}

// know takes what known_hosts files say.
func (h *hostKeys) know(files []string) error {
	known, err := readKnownHosts(files)
	if err != nil {
		return err
	}
	h.known = known
	if known.authorities {
		h.allow(certAlgorithms)
	}
	// A key that no file can hold makes the package list those that would be right.
	var want *knownhosts.KeyError
	if errors.As(known.callback(h.address, noAddr{}, noKey{}), &want) {
		for _, k := range want.Want {
			h.strict = true
			h.allow(algorithmsOf(k.Key.Type()))
		}
	}
	if !h.strict {
		// The machine is unknown or vouched for by an authority. Show the best key it has.
		for _, t := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA} {
			h.allow(algorithmsOf(t))
		}
	}
	return nil
}

func (h *hostKeys) allow(algorithms []string) {
	for _, a := range algorithms {
		if !slices.Contains(h.algorithms, a) {
			h.algorithms = append(h.algorithms, a)
		}
	}
}

// check implements [ssh.HostKeyCallback].
func (h *hostKeys) check(address string, remote net.Addr, key ssh.PublicKey) error {
	h.refused = h.judge(address, remote, key)
	h.accepted = h.refused == nil
	if h.refused != nil {
		return h.refused
	}
	return nil
}

func (h *hostKeys) judge(address string, remote net.Addr, key ssh.PublicKey) *fault.Error {
	found := ssh.FingerprintSHA256(key)
	if h.pinned != nil {
		for _, p := range h.pinned {
			if bytes.Equal(p.Marshal(), key.Marshal()) {
				return nil
			}
		}
		return h.changed(found, key, fingerprints(h.pinned), "was pinned").
			WithRemedy("Nothing was sent. If the machine was rebuilt on purpose, pin its new key:\n%s", pinLine(key))
	}
	err := h.known.callback(address, remote, key)
	var other *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &revoked):
		return fault.New(fault.HostKey, "%s: host key %s (%s) is revoked by %s:%d", h.where, found, key.Type(), h.known.file(revoked.Revoked.Filename), revoked.Revoked.Line).
			WithRemedy("Nothing was sent. Somebody who is not the machine may have this key: ask whoever revoked it.")
	case errors.As(err, &other) && len(other.Want) == 0:
		return fault.New(fault.HostKey, "%s: host key %s (%s) is not known%s",
			h.where, found, key.Type(), h.known.unread()).
			WithRemedy("Nothing was sent. Compare the fingerprint with the machine's own"+
				" (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there); if it is right, add to the configuration of this host:\n%s",
				pinLine(key))
	case errors.As(err, &other):
		var keys []ssh.PublicKey
		var lines []string
		for _, k := range other.Want {
			keys = append(keys, k.Key)
			lines = append(lines, fmt.Sprintf("%s:%d", h.known.file(k.Filename), k.Line))
		}
		return h.changed(found, key, fingerprints(keys), "is known from "+strings.Join(lines, ", ")).
			WithRemedy("Nothing was sent. If the machine was rebuilt on purpose, remove the old line (ssh-keygen -R '%s' -f %s) and add:\n  %s",
				knownhosts.Normalize(h.address), h.known.file(other.Want[0].Filename), knownhosts.Line([]string{h.address}, key))
	default: // certificates: wrong principal, expired, unknown authority
		return fault.New(fault.HostKey, "%s: host certificate %s: %w", h.where, found, err).
			WithRemedy("Nothing was sent. Have the authority sign the machine's host key again, for this name.")
	}
}

func (h *hostKeys) changed(found string, key ssh.PublicKey, wanted, how string) *fault.Error {
	return fault.New(fault.HostKey, "%s: host key is %s (%s), but %s %s", h.where, found, key.Type(), wanted, how)
}

// noneOffered is the fault of a machine that has no key of the known types.
func (h *hostKeys) noneOffered(offered []string) *fault.Error {
	return fault.New(fault.HostKey, "%s: has no host key of a known type: it offers %s, want %s",
		h.where, strings.Join(offered, ", "), strings.Join(h.algorithms, ", ")).
		WithRemedy("Nothing was sent. If the machine was rebuilt on purpose, pin its new key (ssh-keyscan shows it, the machine itself proves it).")
}

func fingerprints(keys []ssh.PublicKey) string {
	var all []string
	for _, k := range keys {
		all = append(all, fmt.Sprintf("%s (%s)", ssh.FingerprintSHA256(k), k.Type()))
	}
	return strings.Join(all, " or ")
}

// pinLine is the line of configuration that pins key.
func pinLine(key ssh.PublicKey) string {
	return fmt.Sprintf("  hostKeys: [%q]", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
}

// certAlgorithms are those of host certificates, best first.
var certAlgorithms = []string{
	ssh.CertAlgoED25519v01,
	ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}

// algorithmsOf returns the signature algorithms of a key type. An RSA key signs
// with SHA-2; its SHA-1 signature is not accepted.
func algorithmsOf(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

// noKey is a key that no machine has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// noAddr stands for an address that is not known yet.
type noAddr struct{}

func (noAddr) Network() string { return "tcp" }
func (noAddr) String() string  { return "0.0.0.0:0" }
