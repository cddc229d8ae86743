//go:build unix

package reach_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/sshd"
)

// serveAgent runs an SSH agent that holds keys and returns its socket.
func serveAgent(t *testing.T, keys ...*sshd.Key) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: k.Raw()}); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(t.TempDir(), "agent")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = agent.ServeAgent(ring, c) // ends with the connection
				c.Close()
			}()
		}
	}()
	return socket
}

func TestDialLogsIn(t *testing.T) {
	noLeaks(t)
	client, other, ca := sshd.NewKey(t, "ed25519"), sshd.NewKey(t, "ecdsa"), sshd.NewKey(t, "rsa")
	s := sshd.Start(t, sshd.Options{Clients: []*sshd.Key{client}, UserCA: ca})
	dir := t.TempDir()
	cert := ca.Sign(t, other, ssh.UserCert, s.User)
	write := func(name, content string) string {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	beside := other.File(t, dir, "")
	write(beside+"-cert.pub", cert)

	for _, tt := range []struct {
		name  string
		agent string
		auth  machine.Auth
	}{
		{name: "with a key in memory", auth: machine.Auth{Keys: []machine.Secret{client.Secret()}}},
		{name: "with a key file", auth: machine.Auth{KeyFiles: []string{client.File(t, dir, "")}}},
		{name: "with the second of two keys", auth: machine.Auth{Keys: []machine.Secret{other.Secret()}, KeyFiles: []string{client.File(t, dir, "")}}},
		{name: "with a certificate beside the key", auth: machine.Auth{KeyFiles: []string{beside}}},
		{name: "with a certificate that is listed", auth: machine.Auth{KeyFiles: []string{other.File(t, dir, "")}, CertFiles: []string{write(filepath.Join(dir, "c.pub"), cert)}}},
		{name: "with the agent", agent: serveAgent(t, other, client), auth: machine.Auth{Agent: true}},
		{name: "with the agent after a wrong key", agent: serveAgent(t, client), auth: machine.Auth{Agent: true, Keys: []machine.Secret{other.Secret()}}},
		{name: "with an encrypted key that the agent holds", agent: serveAgent(t, client), auth: machine.Auth{Agent: true, KeyFiles: []string{client.File(t, dir, "secret")}}},
		{name: "with a key although there is no agent", agent: filepath.Join(dir, "none"), auth: machine.Auth{Agent: true, Keys: []machine.Secret{client.Secret()}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ep := s.Endpoint()
			ep.Auth = tt.auth
			c := dial(t, ep, reach.Options{AgentSocket: tt.agent})
			if got := output(t, c, "id -un"); got != s.User {
				t.Errorf("logged in as %q, want %q", got, s.User)
			}
		})
	}
}

func TestDialWithPassword(t *testing.T) {
	noLeaks(t)
	s := sshd.Start(t, sshd.Options{Password: true})
	ep := s.Endpoint()
	ep.Auth.Keys = nil
	if got := output(t, dial(t, ep, reach.Options{}), "id -un"); got != s.User {
		t.Errorf("logged in as %q, want %q", got, s.User)
	}
	ep.Auth.Password = machine.NewSecret("wrong")
	_, err := reach.Dial(t.Context(), ep, reach.Options{})
	if !fault.Is(err, fault.AuthRefused) || !strings.Contains(err.Error(), "the password") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
}

// Where the machine wants two proofs, or the password as an answer to a question.
func TestDialWithKeyAndPassword(t *testing.T) {
	noLeaks(t)
	for _, methods := range []string{"publickey,password", "publickey,keyboard-interactive", "keyboard-interactive"} {
		t.Run(methods, func(t *testing.T) {
			s := sshd.Start(t, sshd.Options{Password: true, Lines: []string{
				"AuthenticationMethods " + methods, "KbdInteractiveAuthentication yes", "UsePAM yes",
			}})
			if got := output(t, dial(t, s.Endpoint(), reach.Options{}), "id -un"); got != s.User {
				t.Errorf("logged in as %q, want %q", got, s.User)
			}
		})
	}
}

func TestDialIsRefused(t *testing.T) {
	noLeaks(t)
	s := sshd.Start(t, sshd.Options{})
	dir := t.TempDir()
	stranger := sshd.NewKey(t, "ed25519")
	locked := stranger.File(t, dir, "secret")
	noKey := filepath.Join(dir, "text")
	if err := os.WriteFile(noKey, []byte("no key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var many []machine.Secret
	for range 8 {
		many = append(many, sshd.NewKey(t, "ed25519").Secret())
	}
	for _, tt := range []struct {
		name string
		user string
		auth machine.Auth
		kind fault.Kind
		says []string
	}{
		{"a key that the machine does not know", "", machine.Auth{Keys: []machine.Secret{stranger.Secret()}},
			fault.AuthRefused, []string{stranger.Fingerprint(), s.User, "refused"}},
		{"a user that does not exist", "nobody-here", s.Endpoint().Auth,
			fault.AuthRefused, []string{`"nobody-here"`}},
		{"more keys than the machine has patience for", "", machine.Auth{Keys: many},
			fault.AuthRefused, []string{"a key in memory"}},
		{"no way at all", "", machine.Auth{},
			fault.AuthRefused, []string{"no key, agent or password is configured"}},
		{"an agent that is not there", "", machine.Auth{Agent: true},
			fault.AuthRefused, []string{"the SSH agent", "no such file"}},
		{"a password where only keys count", "", machine.Auth{Password: machine.NewSecret("x")},
			fault.AuthRefused, []string{"accepts none of the configured ways"}},
		{"a key with a passphrase", "", machine.Auth{KeyFiles: []string{locked}},
			fault.Config, []string{locked, "has a passphrase"}},
		{"a key file that does not exist", "", machine.Auth{KeyFiles: []string{filepath.Join(dir, "absent")}},
			fault.LocalFile, []string{"absent", "no such file"}},
		{"a key file that is none", "", machine.Auth{KeyFiles: []string{noKey}},
			fault.Config, []string{noKey, "no key found"}},
		{"a certificate file that does not exist", "", machine.Auth{CertFiles: []string{filepath.Join(dir, "absent")}},
			fault.LocalFile, []string{"certificate", "absent"}},
		{"a certificate file that is a key", "", machine.Auth{CertFiles: []string{writePub(t, dir, stranger)}},
			fault.Config, []string{"want an OpenSSH user certificate"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ep := s.Endpoint()
			ep.Auth = tt.auth
			if tt.user != "" {
				ep.User = tt.user
			}
			c, err := reach.Dial(t.Context(), ep, reach.Options{AgentSocket: filepath.Join(dir, "no-agent")})
			if err == nil {
				c.Close()
				t.Fatal("let in")
			}
			if fault.Of(err) != tt.kind {
				t.Errorf("kind %s, want %s: %v", fault.Of(err), tt.kind, err)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is missing in: %v", s, err)
				}
			}
		})
	}
}

func writePub(t *testing.T, dir string, k *sshd.Key) string {
	t.Helper()
	name := filepath.Join(dir, "plain.pub")
	if err := os.WriteFile(name, []byte(k.Line()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
