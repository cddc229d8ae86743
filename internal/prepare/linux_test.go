//go:build linux

package prepare_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/prepare"
	"outrigger.dev/outrigger/test/macshell"
)

func TestLinuxMachineIsMadeFit(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the agent of the test is named for amd64")
	}
	m := newMac(t, macshell.Options{Linux: true, Sudo: macshell.SudoFree})
	m.want.PasswordOff = true
	// Stands for a server that is to read its files again, on a machine without systemd. It is
	// there, as a server is, once it has said its number. A shell cannot trap what it was started to ignore, as
	// under nohup(1).
	m.Do(`rm -f /usr/bin/systemctl /run/sshd.pid
env --default-signal=HUP sh -c 'trap "echo told >/run/told" HUP; echo $$ >/run/sshd.pid; while :; do sleep 0.05; done' >/dev/null 2>&1 &
until [ -s /run/sshd.pid ]; do sleep 0.05; done`)
	ready := m.prepare()
	for deadline := time.Now().Add(10 * time.Second); m.Read("run/told") == ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the server was not told to read its files again: %+v\n%s", ready.Findings, m.Do(`cat /run/sshd.pid; ls -l /run`))
		}
	}
	want := `KeyLogin True Installed
RootAccess True Sudo
PasswordOff True Off
DiskSpace True Room
Clock True Right
RootLinker True Links
`
	if diff := cmp.Diff(want, summary(ready.Report)); diff != "" {
		t.Errorf("-want +got:\n%s\n%v", diff, ready.Findings)
	}
	if err := m.mayEnter(machine.Auth{Password: machine.NewSecret(macshell.Password)}); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("the password: got %v, want it refused", err)
	}
	if ready.Session != "ssh" {
		t.Errorf("session %q, want ssh", ready.Session)
	}
}

func TestFullDiskIsSaid(t *testing.T) {
	m := newMac(t, macshell.Options{Linux: true, Sudo: macshell.SudoFree})
	m.want.MinFree = 1 << 60
	got := finding(t, m.prepare().Report, prepare.DiskSpace)
	if got.OK || got.Reason != "Low" || got.Unfit {
		t.Errorf("got %+v", got)
	}
	m.want.Require = []prepare.Condition{prepare.DiskSpace}
	if err := m.prepare().Err(); !fault.Is(err, fault.NotPrepared) {
		t.Errorf("got %v, want a pool that requires room to refuse the machine", err)
	}
}

func TestWrongPasswordOfTheImageIsARefusedLogin(t *testing.T) {
	m := newMac(t, macshell.Options{Linux: true})
	v := m.visit()
	v.Endpoint.Auth.Password = machine.NewSecret("wrong")
	if _, err := prepare.Machine(t.Context(), v); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("got %v, want AuthRefused", err)
	}
}

func TestLoginThatIsRefusedAtFirstIsTriedAgain(t *testing.T) {
	m := newMac(t, macshell.Options{Linux: true, Sudo: macshell.SudoFree})
	m.Do("echo admin:not-known-yet | chpasswd")
	known := make(chan struct{})
	go func() {
		defer close(known)
		for !strings.Contains(m.Log(), "Failed password") && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		m.Do("echo admin:admin | chpasswd")
	}()
	v := m.visit()
	v.Patience = time.Minute
	ready, err := prepare.Machine(t.Context(), v)
	<-known
	if err != nil || ready.Err() != nil {
		t.Errorf("got %v, %v", err, ready.Err())
	}
}
