//go:build linux

package prepare_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/prepare"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/macshell"
)

const keychainFile = "/Users/admin/Library/Keychains/outrigger-macs-1.keychain-db"

// identity makes a certificate with its key, as a file that only password opens.
func identity(t *testing.T, name, password string) prepare.Identity {
	t.Helper()
	dir := t.TempDir()
	key, cert, p12 := filepath.Join(dir, "key"), filepath.Join(dir, "cert"), filepath.Join(dir, "p12")
	for _, args := range [][]string{
		{"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=" + name, "-days", "2"},
		{"pkcs12", "-export", "-inkey", key, "-in", cert, "-out", p12, "-passout", "pass:" + password},
	} {
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl: %v: %s", err, out)
		}
	}
	b, err := os.ReadFile(p12)
	if err != nil {
		t.Fatal(err)
	}
	return prepare.Identity{Name: name, PKCS12: b, Password: machine.NewSecret(password)}
}

// signer is a Mac whose pool wants a keychain.
func signer(t *testing.T, o macshell.Options) *mac {
	m := newMac(t, o)
	m.want.Keychain = &prepare.Keychain{
		Password:   machine.NewSecret("keychain-password"),
		Identities: []prepare.Identity{identity(t, "Apple Development: us", `p12 "pass\word'`), identity(t, "Developer ID Installer: us", "other-password")},
	}
	return m
}

func TestKeychainIsUnlockedWhereRunsAre(t *testing.T) {
	m := signer(t, macshell.Options{})
	ready := m.prepare()
	if got := finding(t, ready.Report, prepare.BuildKeychain); !got.OK {
		t.Fatalf("got %+v", got)
	}
	state := "." + "state/"
	if got := m.Read(keychainFile + state + "unlocked"); got != "Aqua\n" {
		t.Errorf("unlocked in session %q, want Aqua", got)
	}
	if got := m.Read(keychainFile + state + "settings"); got != "no-timeout\n" {
		t.Errorf("locks itself: %q", got)
	}
	if got := m.Read(keychainFile + state + "partitions"); got != "apple-tool:,apple:,codesign:\n" {
		t.Errorf("codesign would ask: partitions %q", got)
	}
	list := m.Do("su admin -c 'security list-keychains -d user'")
	if want := "    \"" + keychainFile + "\"\n    \"/Users/admin/Library/Keychains/login.keychain-db\"\n"; list != want {
		t.Errorf("searched are:\n%swant:\n%s", list, want)
	}
	if got := m.Do("ls /tmp /Users/admin | grep outrigger[.] || true"); got != "" {
		t.Errorf("left behind: %s", got)
	}

	// Again: a new keychain in the place of the old one, which is searched once.
	m.want.Keychain.Password = machine.NewSecret("another-password")
	m.prepare()
	if got := m.Read(keychainFile + state + "password"); got != "another-password" {
		t.Errorf("password is %q, want that of the new keychain", got)
	}
	if again := m.Do("su admin -c 'security list-keychains -d user'"); again != list {
		t.Errorf("searched are:\n%swant:\n%s", again, list)
	}
}

func TestKeychainEndsWithTheClaim(t *testing.T) {
	m := signer(t, macshell.Options{Sudo: macshell.SudoFree})
	m.prepare()
	own := m.Endpoint()
	own.Auth = machine.Auth{Keys: []machine.Secret{m.key.Secret()}}

	m.want.Keychain.Password = machine.NewSecret("for-the-next")
	report, err := prepare.Renew(t.Context(), m.visit(), own, true)
	if err != nil || summary(report) != "KeyLogin True Installed\nBuildKeychain True Unlocked\n" {
		t.Fatalf("renewed: %v\n%s", err, summary(report))
	}
	if got := m.Read(keychainFile + ".state/password"); got != "for-the-next" {
		t.Errorf("password is %q, want that of the next claim's keychain", got)
	}

	if _, err := prepare.Renew(t.Context(), m.visit(), own, false); err != nil {
		t.Fatal(err)
	}
	if got := m.Do("ls /Users/admin/Library/Keychains; su admin -c 'security list-keychains -d user'"); strings.Contains(got, "outrigger") {
		t.Errorf("the keychain is there after the end:\n%s", got)
	}
}

func TestIdentityWithAWrongPasswordIsNamed(t *testing.T) {
	m := signer(t, macshell.Options{Sudo: macshell.SudoFree})
	m.want.Keychain.Identities[1].Password = machine.NewSecret("wrong")
	ready := m.prepare()
	got := finding(t, ready.Report, prepare.BuildKeychain)
	if got.OK || !got.Unfit || !strings.Contains(got.Message, "Developer ID Installer: us") || !strings.Contains(got.Message, "wrong password?") {
		t.Errorf("got %+v", got)
	}
	if err := ready.Err(); !fault.Is(err, fault.NotPrepared) || strings.Contains(err.Error(), "keychain-password") {
		t.Errorf("got %v", err)
	}
}

func TestNoSecretIsOnACommandLine(t *testing.T) {
	m := signer(t, macshell.Options{})
	m.prepare()
	own := m.Endpoint()
	own.Auth = machine.Auth{Keys: []machine.Secret{m.key.Secret()}}
	c, err := reach.Dial(t.Context(), own, reach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ours := &recorder{Shell: prepare.Over(c)}
	m.want.AgentRoot = macshell.Home + "/.outrigger"
	if _, err := prepare.Run(context.WithoutCancel(t.Context()), ours, prepare.Plan("darwin"), m.want); err != nil {
		t.Fatal(err)
	}
	listed := strings.Join(ours.lines, "\n") + m.Argv()
	for _, secret := range []string{"keychain-password", "pass\\word", "other-password"} {
		if strings.Contains(listed, secret) {
			t.Errorf("%q is on a command line:\n%s", secret, listed)
		}
	}
	for _, line := range ours.lines {
		if strings.Contains(strings.ReplaceAll(line, "'admin'", ""), "admin") {
			t.Errorf("the login's password is on a command line: %s", line)
		}
	}
	if !strings.Contains(ours.sent, "keychain-password") {
		t.Error("the scripts do not have the password at all: this test sees nothing")
	}
}
