//go:build unix

package reach_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/sshd"
)

func TestHostKeys(t *testing.T) {
	noLeaks(t)
	ed, rsa, stranger := sshd.NewKey(t, "ed25519"), sshd.NewKey(t, "rsa"), sshd.NewKey(t, "ed25519")
	ca, otherCA := sshd.NewKey(t, "ecdsa"), sshd.NewKey(t, "ecdsa")
	plain := sshd.Start(t, sshd.Options{HostKeys: []*sshd.Key{ed, rsa}})
	certified := sshd.Start(t, sshd.Options{HostKeys: []*sshd.Key{ed}, HostCA: ca})

	for _, tt := range []struct {
		name   string
		server *sshd.Server
		pinned []string
		known  string // $HOST stands for how known_hosts names the server
		kind   fault.Kind
		says   []string
		remedy []string
	}{
		{name: "the pinned key", server: plain, pinned: []string{ed.Line()}},
		{name: "a pinned key that is not the server's favourite", server: plain, pinned: []string{rsa.Line()}},
		{name: "a pinned key with a comment, and another one", server: plain, pinned: []string{stranger.Line(), ed.Line() + " root@mac"}},
		{name: "a pinned key as ssh-keyscan prints it", server: plain, pinned: []string{"[127.0.0.1]:2222 " + ed.Line()}},
		{name: "another key than the pinned one", server: plain, pinned: []string{stranger.Line()},
			kind: fault.HostKey, says: []string{ed.Fingerprint(), stranger.Fingerprint(), "was pinned"}, remedy: []string{"Nothing was sent", "rebuilt", ed.Line()}},
		{name: "a pinned key of a type that the server has not", server: plain, pinned: []string{sshd.NewKey(t, "ecdsa").Line()},
			kind: fault.HostKey, says: []string{"no host key of a known type", "ecdsa-sha2-nistp256", "ssh-ed25519"}, remedy: []string{"Nothing was sent"}},
		{name: "a pinned key that is none", server: plain, pinned: []string{"ssh-ed25519 AAAAgarbage"},
			kind: fault.Config, says: []string{"AAAAgarbage"}, remedy: []string{"hostKeys:"}},
		{name: "a known key", server: plain, known: "$HOST " + ed.Line()},
		{name: "a known key that is not the server's favourite", server: plain, known: "$HOST " + rsa.Line()},
		{name: "a known key under a hashed name", server: plain, known: "$HASH " + ed.Line()},
		{name: "a known key under a pattern", server: plain, known: "[127.0.0.*]:$PORT " + ed.Line()},
		{name: "nothing known", server: plain, known: "",
			kind: fault.HostKey, says: []string{ed.Fingerprint(), "is not known"}, remedy: []string{"Nothing was sent", fmt.Sprintf("hostKeys: [%q]", ed.Line())}},
		{name: "a key known for another port", server: plain, known: "[127.0.0.1]:1 " + ed.Line(),
			kind: fault.HostKey, says: []string{"is not known"}},
		{name: "a key known for the host without a port", server: plain, known: "127.0.0.1 " + ed.Line()},
		{name: "a key known for all hosts", server: plain, known: "* " + ed.Line()},
		{name: "a key known for the host without a port, but another for the port", server: plain,
			known: "127.0.0.1 " + ed.Line() + "\n$HOST " + stranger.Line(),
			kind:  fault.HostKey, says: []string{stranger.Fingerprint(), "known_hosts:2"}},
		{name: "a key known for the host without a port, and an authority for all", server: plain,
			known: "@cert-authority * " + ca.Line() + "\n127.0.0.1 " + ed.Line()},
		{name: "another key known for the host without a port", server: plain, known: "127.0.0.1 " + stranger.Line(),
			kind: fault.HostKey, says: []string{"is not known"}},
		{name: "a key revoked for the host without a port", server: plain,
			known: "127.0.0.1 " + ed.Line() + "\n@revoked 127.0.0.1 " + ed.Line(),
			kind:  fault.HostKey, says: []string{"is not known"}},
		{name: "a key known for all ports but this", server: plain, known: "![127.0.0.1]:$PORT,[127.0.0.1]:* " + ed.Line(),
			kind: fault.HostKey, says: []string{"is not known"}},
		{name: "a key known for a name with brackets as in a pattern", server: plain, known: "[127.0.0.1-9]:$PORT " + ed.Line(),
			kind: fault.HostKey, says: []string{"is not known"}},
		{name: "another key than the known one", server: plain, known: "$HOST " + stranger.Line(),
			kind: fault.HostKey, says: []string{ed.Fingerprint(), stranger.Fingerprint(), "known_hosts:1"}, remedy: []string{"ssh-keygen -R '[127.0.0.1]:", ed.Line()}},
		{name: "a key that is known and revoked", server: plain, known: "@revoked * " + ed.Line() + "\n$HOST " + ed.Line(),
			kind: fault.HostKey, says: []string{"is revoked by", "known_hosts:1"}, remedy: []string{"Nothing was sent"}},
		{name: "a key that is known, and revoked for another host", server: plain, known: "@revoked other.example.com " + ed.Line() + "\n$HOST " + ed.Line()},
		{name: "a key that is known, and a line with a marker of tomorrow", server: plain, known: "@doubted * " + ed.Line() + "\n$HOST " + ed.Line()},
		{name: "an authority's own key", server: plain, known: "@cert-authority $HOST " + ed.Line(),
			kind: fault.HostKey, says: []string{"is not known"}},
		{name: "a certificate of an authority for all hosts", server: certified, known: "@cert-authority * " + ca.Line()},
		{name: "a certificate of an unknown authority, with a known key", server: certified, known: "@cert-authority * " + otherCA.Line() + "\n$HOST " + ed.Line()},
		{name: "a certificate of a revoked authority", server: certified, known: "@revoked * " + ca.Line() + "\n@cert-authority * " + ca.Line() + "\n$HOST " + ed.Line(),
			kind: fault.HostKey, says: []string{"is revoked by", "known_hosts:1"}},
		{name: "a certificate with a revoked key", server: certified, known: "@revoked $HOST " + ed.Line() + "\n@cert-authority * " + ca.Line(),
			kind: fault.HostKey, says: []string{"is revoked by", "known_hosts:1"}},
		{name: "a certificate of a known authority", server: certified, known: "@cert-authority $HOST " + ca.Line()},
		{name: "a certificate of a known authority, and other hosts' keys", server: certified, known: "elsewhere " + stranger.Line() + "\n@cert-authority $HOST " + ca.Line()},
		{name: "a certificate of another authority", server: certified, known: "@cert-authority $HOST " + otherCA.Line(),
			kind: fault.HostKey, says: []string{"host certificate"}, remedy: []string{"Nothing was sent"}},
		{name: "a certificate of an authority for other hosts", server: certified, known: "@cert-authority *.example.com " + ca.Line(),
			kind: fault.HostKey},
		{name: "no certificate where one is wanted", server: plain, known: "@cert-authority $HOST " + ca.Line(),
			kind: fault.HostKey},
		{name: "a known key among lines that cannot be read", server: plain,
			known: "a.example.com ssh-rsa AAAAcut\nb.example.com 1024 35 123\n<<<<<<< HEAD\n$HOST " + ed.Line() +
				"\nc.example.com ssh-future AAAAC3Nza\n@revoked\n|1|nohash ssh-ed25519 x\nd " + strings.Repeat("x", 70_000)},
		{name: "another key than the known one, behind a line that cannot be read", server: plain,
			known: "=======\n$HOST " + stranger.Line(),
			kind:  fault.HostKey, says: []string{"/known_hosts:2"}, remedy: []string{"/known_hosts) and add"}},
		{name: "a revoked key, behind a line that cannot be read", server: plain,
			known: "x\n@revoked * " + ed.Line() + "\n$HOST " + ed.Line(),
			kind:  fault.HostKey, says: []string{"is revoked by", "known_hosts:2"}},
		{name: "a certificate of a known authority behind a line that is too long", server: certified,
			known: strings.Repeat("x", 70_000) + "\n@cert-authority $HOST " + ca.Line()},
		{name: "a known_hosts file whose only line cannot be read", server: plain, known: "$HOST ssh-ed25519",
			kind: fault.HostKey, says: []string{"is not known", "known_hosts:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ep := tt.server.Endpoint()
			ep.HostKeys = tt.pinned
			// One file is not there, and one cannot be read.
			ep.KnownHosts = []string{filepath.Join(t.TempDir(), "absent"), t.TempDir(), knownHosts(t, ep, tt.known)}
			c, err := reach.Dial(t.Context(), ep, reach.Options{})
			if err == nil {
				c.Close()
			}
			if fault.Of(err) != tt.kind {
				t.Fatalf("kind %q, want %q: %v", fault.Of(err), tt.kind, err)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is missing in: %v", s, err)
				}
			}
			for _, s := range tt.remedy {
				if !strings.Contains(fault.Remedy(err), s) {
					t.Errorf("%q is missing in the remedy: %s", s, fault.Remedy(err))
				}
			}
		})
	}
}

// knownHosts writes a known_hosts file.
func knownHosts(t *testing.T, ep machine.Endpoint, lines string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(ep.Address())
	if err != nil {
		t.Fatal(err)
	}
	host := knownhosts.Normalize(ep.Address())
	lines = strings.NewReplacer("$HOST", host, "$HASH", knownhosts.HashHostname(host), "$PORT", port).Replace(lines)
	name := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(name, []byte(lines+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A wrong host must not learn whom we wanted to be: the login begins after the check.
func TestNothingIsSentToAWrongHost(t *testing.T) {
	s := sshd.Start(t, sshd.Options{Lines: []string{"LogLevel DEBUG1"}})
	ep := s.Endpoint()
	ep.HostKeys = []string{sshd.NewKey(t, "ed25519").Line()}
	if _, err := reach.Dial(t.Context(), ep, reach.Options{}); !fault.Is(err, fault.HostKey) {
		t.Fatalf("got %v, want a fault of kind HostKey", err)
	}
	await(t, "the server has noticed", func() bool { return s.Connections() == 0 })
	if log := s.Log(); strings.Contains(log, s.User) {
		t.Errorf("the server knows the user:\n%s", log)
	}
}
