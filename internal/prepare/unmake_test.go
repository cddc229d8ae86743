//go:build linux

package prepare_test

import (
	"runtime"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/prepare"
	"outrigger.dev/outrigger/test/macshell"
	"outrigger.dev/outrigger/test/sshd"
)

// unmake makes the machine what it was before, as before an image is made of it.
func (m *mac) unmake(t *testing.T, ready prepare.Ready) {
	t.Helper()
	v := m.visit()
	v.Want.AgentRoot = ready.Agent.Root
	own := m.Endpoint()
	own.Auth = machine.Auth{Keys: []machine.Secret{m.key.Secret()}}
	if err := prepare.Unmake(t.Context(), v, own); err != nil {
		t.Fatal(err)
	}
	if err := m.mayEnter(own.Auth); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("the machine's key: got %v, want it refused: who has it would enter all machines of the image", err)
	}
	if err := m.mayEnter(machine.Auth{Password: machine.NewSecret(macshell.Password)}); err != nil {
		t.Errorf("the image's password: %v", err)
	}
	if got := m.Do("ls -A " + macshell.Home + "/.outrigger 2>&1; grep -c outrigger " + macshell.Home + "/.ssh/authorized_keys; true"); !strings.Contains(got, "No such file") || !strings.HasSuffix(got, "\n0\n") {
		t.Errorf("left on the machine: %q", got)
	}
	if got := m.Do("ps -eo args | grep '[o]utrigger-agent'; true"); strings.Contains(got, macshell.Home+"/.outrigger/") {
		t.Errorf("left running: %s", got)
	}
}

// again prepares it as the machine of another name that an image is made into.
func (m *mac) again(t *testing.T) prepare.Ready {
	t.Helper()
	m.key, m.want.Machine = sshd.NewKey(t, "ed25519"), "macs-2"
	m.want.Key = m.key.Line()
	ready := m.prepare()
	if err := ready.Err(); err != nil {
		t.Fatal(err)
	}
	return ready
}

// What is prepared on a Mac is taken back before an image is made of it: keys, the closed door for passwords, the
// keychain, the agent. What stays, such as links of the root folder, serves the machines that are made of it.
func TestMacIsUnmadeBeforeAnImageIsMadeOfIt(t *testing.T) {
	m := newMac(t, macshell.Options{Sudo: macshell.SudoFree})
	m.want.PasswordOff = true
	m.want.Keychain = &prepare.Keychain{Password: machine.NewSecret("secret"), Identities: []prepare.Identity{identity(t, "Apple Development: us", "secret-of-the-file")}}
	first := m.prepare()
	if err := first.Err(); err != nil {
		t.Fatal(err)
	}
	if err := m.mayEnter(machine.Auth{Password: machine.NewSecret(macshell.Password)}); !fault.Is(err, fault.AuthRefused) {
		t.Fatalf("the password: got %v, want it refused", err)
	}
	m.unmake(t, first)
	if got := m.Do("ls " + macshell.Home + "/Library/Keychains"); strings.Contains(got, "outrigger") {
		t.Errorf("a keychain is left: %s", got)
	}
	if got := m.Do("readlink /workspace; test -d /workspace/ || echo nowhere"); !strings.Contains(got, "nowhere") {
		t.Errorf("/workspace is %q; want a link that leads nowhere until the machine is prepared", got)
	}
	second := m.again(t)
	if got := m.Do("test -d /workspace/ && echo there; true"); !strings.Contains(got, "there") || !finding(t, second.Report, prepare.RootLinker).OK {
		t.Errorf("/workspace is %q: %s", got, summary(second.Report))
	}
}

func TestLinuxMachineIsUnmadeBeforeAnImageIsMadeOfIt(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the agent of the test is named for amd64")
	}
	m := newMac(t, macshell.Options{Linux: true, Sudo: macshell.SudoFree})
	m.want.PasswordOff = true
	// Stands for a server that is told to read its files again; macshell's reads them for each connection.
	m.Do(`rm -f /usr/bin/systemctl; sh -c 'trap : HUP; while :; do sleep 0.05; done' >/dev/null 2>&1 & echo $! >/run/sshd.pid`)
	first := m.prepare()
	if err := first.Err(); err != nil {
		t.Fatal(err)
	}
	m.unmake(t, first)
	m.again(t)
}
