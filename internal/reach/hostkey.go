package reach

import (
	"bytes"
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
	known      *knownHosts

	accepted bool         // a key was seen and is right
	refused  *fault.Error // a key was seen and is wrong
}

func newHostKeys(ep machine.Endpoint, where string) (*hostKeys, error) {
	h := &hostKeys{where: where, address: ep.Address()}
	if ep.KnownAs != "" {
		h.address = net.JoinHostPort(ep.KnownAs, "22") // the port that is not written in known_hosts
	}
	if len(ep.HostKeys) > 0 {
		return h, h.pin(ep.HostKeys)
	}
	h.know(ep.KnownHosts)
	return h, nil
}

// pin makes the keys of lines, in authorized_keys format, the only right ones.
func (h *hostKeys) pin(lines []string) error {
	for _, line := range lines {
		key, err := parsePin(h.where, line)
		if err != nil {
			return err
		}
		h.pinned = append(h.pinned, key)
		h.allow(algorithmsOf(key.Type()))
	}
	h.strict = true
	return nil
}

func parsePin(where, line string) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, fault.New(fault.Config, "%s: host key %q: %w", where, line, err).
			WithRemedy(`Pin host keys as the machine prints them: hostKeys: ["ssh-ed25519 AAAA…"]`)
	}
	return key, nil
}

// CheckPins is the fault of pinned host keys, of the host called where, that are none.
func CheckPins(where string, lines []string) error {
	for _, line := range lines {
		if _, err := parsePin(where, line); err != nil {
			return err
		}
	}
	return nil
}

// know takes what known_hosts files say.
func (h *hostKeys) know(files []string) {
	h.known = readKnownHosts(files)
	name, portless := knownNames(h.address)
	exact, loose := h.known.of(name), h.known.of(portless)
	var plain []string
	for i, l := range append(exact, loose...) {
		switch l.marker {
		case authorityMark:
			h.allow(certAlgorithms) // before all others
		case "":
			h.strict = h.strict || i < len(exact)
			plain = append(plain, algorithmsOf(l.key.Type())...)
		}
	}
	h.allow(plain)
	if !h.strict {
		// The machine is unknown or vouched for by an authority. Show the best key it has.
		for _, t := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA} {
			h.allow(algorithmsOf(t))
		}
	}
}

func (h *hostKeys) allow(algorithms []string) {
	for _, a := range algorithms {
		if !slices.Contains(h.algorithms, a) {
			h.algorithms = append(h.algorithms, a)
		}
	}
}

// check implements [ssh.HostKeyCallback].
func (h *hostKeys) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	h.refused = h.judge(key)
	h.accepted = h.refused == nil
	if h.refused != nil {
		return h.refused
	}
	return nil
}

func (h *hostKeys) judge(key ssh.PublicKey) *fault.Error {
	if h.pinned == nil {
		return h.judgeKnown(key)
	}
	for _, p := range h.pinned {
		if sameKey(p, key) {
			return nil
		}
	}
	return h.changed(key, fingerprints(h.pinned), "was pinned").
		WithRemedy("Nothing was sent. If the machine was rebuilt on purpose, pin its new key: %s", pinLine(key))
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// judgeKnown holds a key against what known_hosts files say of the host at its port, and if they say nothing
// of it, against what they say of the host.
func (h *hostKeys) judgeKnown(key ssh.PublicKey) *fault.Error {
	name, portless := knownNames(h.address)
	f, unknown := h.judgeBy(h.known.of(name), key)
	if unknown {
		if g, _ := h.judgeBy(h.known.of(portless), key); g == nil {
			return nil
		}
	}
	return f
}

// judgeBy holds a key against lines about the host. A certificate that nobody vouches for counts as the key
// in it, as with OpenSSH. unknown tells that the lines say nothing of a key.
func (h *hostKeys) judgeBy(lines []knownLine, key ssh.PublicKey) (f *fault.Error, unknown bool) {
	var why error
	cert, isCert := key.(*ssh.Certificate)
	if isCert {
		key = cert.Key
		if f := h.revoked(lines, cert.SignatureKey); f != nil {
			return f, false
		}
	}
	if f := h.revoked(lines, key); f != nil {
		return f, false
	}
	if isCert {
		if why = h.vouched(lines, cert); why == nil {
			return nil, false
		}
	}
	lines = slices.DeleteFunc(slices.Clone(lines), func(l knownLine) bool { return l.marker != "" })
	switch {
	case slices.ContainsFunc(lines, func(l knownLine) bool { return sameKey(l.key, key) }):
		return nil, false
	case len(lines) > 0:
		return h.changedSince(key, lines), false
	case isCert:
		return fault.New(fault.HostKey, "%s: host certificate %s: %w", h.where, ssh.FingerprintSHA256(key), why).
			WithRemedy("Nothing was sent. Have the authority sign the machine's host key again, for this name."), true
	}
	return fault.New(fault.HostKey, "%s: host key %s (%s) is not known%s", h.where, ssh.FingerprintSHA256(key), key.Type(), h.known.unread()).
		WithRemedy("Nothing was sent. Compare the fingerprint with the machine's own"+
			" (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there); if it is right, add to the configuration of this host: %s",
			pinLine(key)), true
}

// revoked is the fault of a key that a line revokes for this host.
func (h *hostKeys) revoked(lines []knownLine, key ssh.PublicKey) *fault.Error {
	for _, l := range lines {
		if l.marker == revokedMark && sameKey(l.key, key) {
			return fault.New(fault.HostKey, "%s: host key %s (%s) is revoked by %s", h.where, ssh.FingerprintSHA256(key), key.Type(), l.place()).
				WithRemedy("Nothing was sent. Somebody who is not the machine may have this key: ask whoever revoked it.")
		}
	}
	return nil
}

// vouched tells why no authority that is known for this host vouches for it with cert.
func (h *hostKeys) vouched(lines []knownLine, cert *ssh.Certificate) error {
	c := ssh.CertChecker{IsHostAuthority: func(authority ssh.PublicKey, _ string) bool {
		return slices.ContainsFunc(lines, func(l knownLine) bool { return l.marker == authorityMark && sameKey(l.key, authority) })
	}}
	return c.CheckHostKey(h.address, nil, cert)
}

// changedSince is the fault of a host that is known with other keys.
func (h *hostKeys) changedSince(key ssh.PublicKey, lines []knownLine) *fault.Error {
	var keys []ssh.PublicKey
	var places []string
	for _, l := range lines {
		keys = append(keys, l.key)
		places = append(places, l.place())
	}
	return h.changed(key, fingerprints(keys), "is known from "+strings.Join(places, ", ")).
		WithRemedy("Nothing was sent. If the machine was rebuilt on purpose, remove the old line (ssh-keygen -R '%s' -f %s) and add:\n  %s",
			knownhosts.Normalize(h.address), lines[0].file, knownhosts.Line([]string{h.address}, key))
}

func (h *hostKeys) changed(key ssh.PublicKey, wanted, how string) *fault.Error {
	return fault.New(fault.HostKey, "%s: host key is %s (%s), but %s %s", h.where, ssh.FingerprintSHA256(key), key.Type(), wanted, how)
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
	return fmt.Sprintf("hostKeys: [%q]", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
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
