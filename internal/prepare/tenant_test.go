//go:build linux

package prepare_test

import (
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/prepare"
	"outrigger.dev/outrigger/test/macshell"
)

// takesInput is a start file of the login that has every command of ours read by the tenant first: by
// a function in the place of exec and of sudo's path, and by a program earlier in the PATH.
const takesInput = `mkdir -p ~/bin
printf '#!/bin/sh\ncat >>~/stolen\n' >~/bin/sudo
chmod 755 ~/bin/sudo
export PATH=$HOME/bin:$PATH
exec() { case "$*" in *sudo*) cat >>~/stolen ;; *) builtin exec "$@" ;; esac; }
/usr/bin/sudo() { cat >>~/stolen; }
`

// What a claim ran can change what the login executes, so nothing that only we know goes there after it.
func TestPasswordIsNotSentAfterAClaim(t *testing.T) {
	m := newMac(t, macshell.Options{Linux: true})
	m.want.PasswordOff = true
	ready := m.prepare()
	if got := finding(t, ready.Report, prepare.RootAccess); got.Reason != "SudoWithPassword" {
		t.Fatalf("got %+v, want a new machine to be prepared with the password", got)
	}
	m.Write("Users/admin/.bashrc", takesInput)
	m.Do("usermod --shell /bin/bash admin")
	own := m.Endpoint()
	own.Auth = machine.Auth{Keys: []machine.Secret{m.key.Secret()}}
	v := m.visit()
	v.Want.Password = machine.NewSecret("known-to-us-alone")
	if _, err := prepare.Renew(t.Context(), v, own, true); err != nil {
		t.Logf("the machine is not used again: %v", err)
	}
	v.Endpoint = own
	if err := prepare.Depart(t.Context(), v, &own); err != nil {
		t.Logf("the machine is not left: %v", err)
	}
	if stolen := m.Read("Users/admin/stolen"); strings.Contains(stolen, "known-to-us-alone") {
		t.Errorf("the tenant has read the password:\n%s", stolen)
	}
}

// On a host that goes on, what an earlier machine's claim has left is there when the next machine is prepared.
func TestPasswordIsNotSentToAHostOfClaims(t *testing.T) {
	m := newMac(t, macshell.Options{Linux: true})
	m.Write("Users/admin/.bashrc", takesInput)
	m.Do("usermod --shell /bin/bash admin")
	v := m.visit()
	v.Want.Tenants, v.Want.Password = true, machine.NewSecret("known-to-us-alone")
	if _, err := prepare.Machine(t.Context(), v); err != nil {
		t.Logf("the machine is not prepared: %v", err)
	}
	if stolen := m.Read("Users/admin/stolen"); strings.Contains(stolen, "known-to-us-alone") {
		t.Errorf("the tenant has read the password:\n%s", stolen)
	}
	m.Do("rm /Users/admin/.bashrc")
	v = m.visit()
	v.Want.Tenants = true
	ready, err := prepare.Machine(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	if got := finding(t, ready.Report, prepare.RootAccess); got.Reason != "PasswordWithheld" {
		t.Errorf("got %+v", got)
	}
}

// The password is the login's: the user that claims run as does not get to see it, not even with a new home.
func TestPasswordIsNotSentToTheUserOfASlot(t *testing.T) {
	m := newHost(t, macshell.Options{Linux: true})
	m.Write("etc/skel/.bashrc", takesInput)
	first := m.slot("macs-1")
	if _, report, err := m.renew("macs-1", first.Endpoint); err != nil || report.Err() != nil {
		t.Fatalf("%v, %v", err, report.Err())
	}
	if stolen := m.Read("home/" + first.Endpoint.User + "/stolen"); strings.Contains(stolen, macshell.Password) {
		t.Errorf("the user of the slot has read the password:\n%s", stolen)
	}
}

// A recipe runs as the login before an image is made of the machine: what takes the password is done before it. Without
// that, what takes root then needs a sudo that does not ask.
func TestPasswordIsNotSentAfterARecipe(t *testing.T) {
	for name, reopened := range map[string]bool{"as a build does": true, "without what it does first": false} {
		t.Run(name, func(t *testing.T) {
			m := newMac(t, macshell.Options{Linux: true})
			m.Do(`rm -f /usr/bin/systemctl; sh -c 'trap : HUP; while :; do sleep 0.05; done' >/dev/null 2>&1 & echo $! >/run/sshd.pid`)
			m.want.PasswordOff = true
			ready := m.prepare()
			own := m.Endpoint()
			own.Auth = machine.Auth{Keys: []machine.Secret{m.key.Secret()}}
			if reopened {
				if err := prepare.Reopen(t.Context(), m.visit(), own); err != nil {
					t.Fatal(err)
				}
			}
			m.Write("Users/admin/.bashrc", takesInput)
			m.Do("usermod --shell /bin/bash admin")
			v := m.visit()
			v.Want.Password, v.Want.AgentRoot = machine.NewSecret("known-to-us-alone"), ready.Agent.Root
			switch err := prepare.Unmake(t.Context(), v, own); {
			case reopened && err != nil:
				t.Errorf("nothing takes root any more: %v", err)
			case !reopened && (err == nil || !strings.Contains(err.Error(), "PasswordOff") || !strings.Contains(err.Error(), "with its password only")):
				t.Errorf("got %v, want that what lets nobody in stays and is told", err)
			}
			if stolen := m.Read("Users/admin/stolen"); strings.Contains(stolen, "known-to-us-alone") {
				t.Errorf("the recipe has read the password:\n%s", stolen)
			}
			if err := m.mayEnter(machine.Auth{Password: machine.NewSecret(macshell.Password)}); reopened && err != nil {
				t.Errorf("the image's password: %v", err)
			}
		})
	}
}
