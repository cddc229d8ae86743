//go:build linux

package prepare_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/prepare"
	"outrigger.dev/outrigger/test/macshell"
)

func TestMacOfAnOrkaImageIsMadeFit(t *testing.T) {
	m := newMac(t, macshell.Options{})
	m.want.PasswordOff = true
	m.SetClock(-4000)

	ready := m.prepare()
	want := `KeyLogin True Installed
RootAccess True SudoWithPassword
PasswordOff True Off
DiskSpace True Room
Clock True Right
RootLinker True Links
KeepAwake True NeverSleeps
ConsoleUser True LoggedIn
AquaSession True Aqua
`
	if diff := cmp.Diff(want, summary(ready.Report)); diff != "" {
		t.Fatalf("-want +got:\n%s\n%v", diff, ready.Findings)
	}
	if err := ready.Err(); err != nil || ready.Session != "aqua" {
		t.Errorf("session %q, %v; want a machine whose runs are in the session at the screen", ready.Session, err)
	}
	if err := m.mayEnter(machine.Auth{Keys: []machine.Secret{m.key.Secret()}}); err != nil {
		t.Errorf("the key is not let in: %v", err)
	}
	if err := m.mayEnter(machine.Auth{Password: machine.NewSecret(macshell.Password)}); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("admin/admin: got %v, want it refused", err)
	}
	if got := m.Skew(); got != 0 {
		t.Errorf("the clock is wrong by %d s", got)
	}
	for _, name := range []string{"workspace", "tekton"} {
		if got, want := m.Do("readlink /"+name), "Users/admin/.outrigger/at/"+name+"\n"; got != want {
			t.Errorf("/%s leads to %q, want %q", name, got, want)
		}
		m.Do("test -d /" + name)
	}
}

func TestPreparingTwiceIsPreparingOnce(t *testing.T) {
	m := newMac(t, macshell.Options{Sudo: macshell.SudoFree})
	first := m.prepare()
	files := func() string {
		return m.Read("etc/synthetic.conf") + m.Read("Users/admin/.ssh/authorized_keys") + m.Read("etc/ssh/sshd_config.d/000-outrigger.conf")
	}
	before := files()
	if diff := cmp.Diff(summary(first.Report), summary(m.prepare().Report)); diff != "" {
		t.Errorf("the second time (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(before, files()); diff != "" {
		t.Errorf("files changed the second time:\n%s", diff)
	}
	if got := strings.Count(before, "outrigger:macs-1"); got != 1 {
		t.Errorf("authorized_keys has %d lines of ours, want 1:\n%s", got, before)
	}
}

func TestAnotherKeyTakesThePlaceOfTheFirstAndOthersStay(t *testing.T) {
	m := newMac(t, macshell.Options{})
	m.Do(`su admin -c 'mkdir -m 700 ~/.ssh && printf "ssh-ed25519 AAAA somebody" >~/.ssh/authorized_keys'`)
	m.prepare()
	m.want.Key = "ssh-ed25519 BBBB"
	v := m.visit()
	v.Want = m.want
	if _, err := prepare.Machine(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	want := "ssh-ed25519 AAAA somebody\nno-agent-forwarding,no-X11-forwarding ssh-ed25519 BBBB outrigger:macs-1\n"
	if diff := cmp.Diff(want, m.Read("Users/admin/.ssh/authorized_keys")); diff != "" {
		t.Errorf("authorized_keys (-want +got):\n%s", diff)
	}
}

func TestMacWhereNobodyIsLoggedInIsUsedAndSaysSo(t *testing.T) {
	m := newMac(t, macshell.Options{Console: "root", Sudo: macshell.SudoFree})
	ready := m.prepare()
	if got := finding(t, ready.Report, prepare.ConsoleUser); got.OK || got.Reason != "NobodyLoggedIn" || got.Unfit {
		t.Errorf("got %+v", got)
	}
	if got := finding(t, ready.Report, prepare.AquaSession); got.OK || got.Reason != "NoWindowServer" || !strings.Contains(got.Message, "simulators") {
		t.Errorf("got %+v", got)
	}
	if ready.Session != "background" || ready.Err() != nil {
		t.Errorf("session %q, %v; want a machine that is used without a window server", ready.Session, ready.Err())
	}

	m.want.Require = []prepare.Condition{prepare.AquaSession}
	if err := m.prepare().Err(); !fault.Is(err, fault.NotPrepared) {
		t.Errorf("got %v, want a pool that requires the session to refuse the machine", err)
	}

	// Somebody logs in: the daemon that was started before is ended for one that has the session.
	m.Login(macshell.User)
	if again := m.prepare(); again.Session != "aqua" || again.Err() != nil {
		t.Errorf("after the login: session %q, %v\n%s", again.Session, again.Err(), summary(again.Report))
	}
}

func TestAutomaticLoginIsWaitedFor(t *testing.T) {
	m := newMac(t, macshell.Options{Console: "root", Sudo: macshell.SudoFree})
	m.AutoLogin(macshell.User)
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		// The login takes place when it has been looked for once.
		for !strings.Contains(m.Argv(), "stat") {
			select {
			case <-t.Context().Done():
				return
			default:
			}
		}
		m.Login(macshell.User)
	}()
	ready := m.prepare()
	<-seen
	if got := finding(t, ready.Report, prepare.ConsoleUser); !got.OK || ready.Session != "aqua" {
		t.Errorf("got %+v, session %q", got, ready.Session)
	}
}

func TestMacThatDoesNotMakeAnybodyRoot(t *testing.T) {
	m := newMac(t, macshell.Options{Sudo: macshell.SudoNever})
	m.SetClock(900)
	ready := m.prepare()
	want := `KeyLogin True Installed
RootAccess False NoSudo
DiskSpace True Room
Clock False NoRoot
RootLinker False NoRoot
KeepAwake True Caffeinated
ConsoleUser True LoggedIn
AquaSession True Aqua
`
	if diff := cmp.Diff(want, summary(ready.Report)); diff != "" {
		t.Fatalf("-want +got:\n%s\n%v", diff, ready.Findings)
	}
	if got := finding(t, ready.Report, prepare.Clock); !strings.Contains(got.Message, "ahead") {
		t.Errorf("got %+v, want how wrong the clock is", got)
	}
	m.want.PasswordOff = true
	if got := finding(t, m.prepare().Report, prepare.PasswordOff); got.OK || !got.Unfit {
		t.Errorf("got %+v: want that such a machine is not used if passwords must be off", got)
	}
}

func TestClockIsSetWhereNoTimeServerAnswers(t *testing.T) {
	m := newMac(t, macshell.Options{Offline: true, Sudo: macshell.SudoFree})
	m.SetClock(86400)
	if got := finding(t, m.prepare().Report, prepare.Clock); !got.OK {
		t.Errorf("got %+v", got)
	}
	if got := m.Skew(); got < -2 || got > 2 {
		t.Errorf("the clock is wrong by %d s", got)
	}
}

func TestWhatTheMachineSaysIsInTheCondition(t *testing.T) {
	m := newMac(t, macshell.Options{Sudo: macshell.SudoFree})
	m.want.PasswordOff = true
	m.Write("etc/ssh/sshd_config", "UsePAM no\n")
	m.Write("etc/synthetic.conf", "tekton\tsomewhere/else")
	ready := m.prepare()
	if got := finding(t, ready.Report, prepare.PasswordOff); got.OK || !strings.Contains(got.Message, "does not include sshd_config.d") {
		t.Errorf("got %+v", got)
	}
	if got := finding(t, ready.Report, prepare.RootLinker); got.OK || got.Reason != "Taken" || !strings.Contains(got.Message, "/somewhere/else") {
		t.Errorf("got %+v", got)
	}
	if err := ready.Err(); !fault.Is(err, fault.NotPrepared) || !strings.Contains(err.Error(), "PasswordOff") {
		t.Errorf("got %v", err)
	}
}

func TestLinksThatNeedARestartSaySo(t *testing.T) {
	m := newMac(t, macshell.Options{Sudo: macshell.SudoFree})
	m.Write("var/db/fakemac/no-apfs", "")
	if got := finding(t, m.prepare().Report, prepare.RootLinker); got.OK || got.Reason != "NeedsRestart" {
		t.Errorf("got %+v", got)
	}
}

func TestSkippedStepsAreNotTaken(t *testing.T) {
	m := newMac(t, macshell.Options{Sudo: macshell.SudoFree})
	m.want.Skip = []prepare.Condition{prepare.KeepAwake, prepare.Clock}
	m.SetClock(500)
	if got := summary(m.prepare().Report); strings.Contains(got, "KeepAwake") || strings.Contains(got, "Clock") {
		t.Errorf("got:\n%s", got)
	}
	if got := m.Skew(); got != 500 {
		t.Errorf("the clock was changed: wrong by %d s", got)
	}
	if got := m.Do("pmset -g"); !strings.Contains(got, " sleep                1\n") {
		t.Errorf("the power settings were changed:\n%s", got)
	}
}
