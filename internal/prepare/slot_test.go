//go:build linux

package prepare_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/prepare"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/macshell"
	"outrigger.dev/outrigger/test/sshd"
)

// newHost is a host whose claims have users of their own.
func newHost(t *testing.T, o macshell.Options) *mac {
	t.Helper()
	if o.Linux && runtime.GOARCH != "amd64" {
		t.Skip("the agent of the test is named for amd64")
	}
	m := newMac(t, o)
	m.want.Separate = true
	return m
}

// slot prepares the host as a machine of that name, with a new key.
func (m *mac) slot(name machine.Name) prepare.Ready {
	m.t.Helper()
	m.key, m.want.Machine = sshd.NewKey(m.t, "ed25519"), name
	m.want.Key = m.key.Line()
	ready := m.prepare()
	if err := ready.Err(); err != nil {
		m.t.Fatal(err)
	}
	return ready
}

// renew ends a claim of a machine, and returns how it is entered then.
func (m *mac) renew(name machine.Name, own machine.Endpoint) (machine.Endpoint, prepare.Report, error) {
	m.t.Helper()
	m.key, m.want.Machine = sshd.NewKey(m.t, "ed25519"), name
	m.want.Key = m.key.Line()
	report, err := prepare.Renew(m.t.Context(), m.visit(), own, true)
	own.Auth = machine.Auth{Keys: []machine.Secret{m.key.Secret()}}
	return own, report, err
}

// in executes a command as a claim does.
func (m *mac) in(ep machine.Endpoint, command string) (string, int) {
	m.t.Helper()
	c, err := reach.Dial(m.t.Context(), ep, reach.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	out, exit, err := c.Output(m.t.Context(), "exec 2>&1; "+command, nil)
	if err != nil {
		m.t.Fatalf("%s: %v", command, err)
	}
	return string(out), exit
}

// alive lists the processes of a user of the host.
func (m *mac) alive(user string) string {
	m.t.Helper()
	return m.Do(`u=$(id -u ` + user + `); ps -A -o pid= -o uid= -o stat= -o args= | awk -v u="$u" '$2 == u && $3 !~ /^Z/'`)
}

func (m *mac) homes() string {
	if m.want.OS == "darwin" {
		return "/Users/"
	}
	return "/home/"
}

func systems(t *testing.T, test func(t *testing.T, m *mac)) {
	for name, linux := range map[string]bool{"linux": true, "darwin": false} {
		t.Run(name, func(t *testing.T) { test(t, newHost(t, macshell.Options{Linux: linux})) })
	}
}

func TestClaimsHaveUsersOfTheirOwn(t *testing.T) {
	systems(t, func(t *testing.T, m *mac) {
		one, two := m.slot("macs-1"), m.slot("macs-2")
		if diff := cmp.Diff([]string{"outrigger-slot-1", "outrigger-slot-2"}, []string{one.Endpoint.User, two.Endpoint.User}); diff != "" {
			t.Fatal(diff)
		}
		for _, c := range []prepare.Condition{prepare.SlotUser, prepare.KeyLogin, prepare.Clock} {
			if got := finding(t, two.Report, c); !got.OK {
				t.Errorf("got %+v", got)
			}
		}
		if want := m.homes() + "outrigger-slot-2/.outrigger"; two.Agent.Root != want {
			t.Errorf("the agent's folder is %s, want %s", two.Agent.Root, want)
		}
		// What one could have of the other, and of the login.
		if _, exit := m.in(one.Endpoint, "echo secret >~/work && chmod 666 ~/work && cat ~/work"); exit != 0 {
			t.Errorf("a claim cannot write to its home: exit code %d", exit)
		}
		for _, theirs := range []string{
			"ls " + m.homes() + "outrigger-slot-1", "cat " + m.homes() + "outrigger-slot-1/work",
			"ls " + macshell.Home + "/.outrigger", "sudo -n true",
			"cat /etc/ssh/outrigger/outrigger-slot-1.keys >/etc/ssh/outrigger/outrigger-slot-2.keys",
			"echo x >>/etc/ssh/sshd_config.d/000-outrigger-slots.conf", "ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key",
		} {
			if out, exit := m.in(two.Endpoint, theirs); exit == 0 {
				t.Errorf("%s: %s", theirs, out)
			}
		}
		// A line of their own in authorized_keys lets nobody in, and neither do the login's keys.
		mine := sshd.NewKey(t, "ed25519")
		m.in(two.Endpoint, "mkdir -p ~/.ssh && echo '"+mine.Line()+"' >~/.ssh/authorized_keys && chmod -R go= ~/.ssh")
		for _, key := range []*sshd.Key{mine, m.Clients[0]} {
			ep := two.Endpoint
			ep.Auth = machine.Auth{Keys: []machine.Secret{key.Secret()}}
			if c, err := reach.Dial(t.Context(), ep, reach.Options{}); !fault.Is(err, fault.AuthRefused) {
				t.Errorf("another key: got %v, want it refused", err)
				if err == nil {
					c.Close()
				}
			}
		}
	})
}

// leave does what a claim can do to be there when the next one comes.
const leave = `trap '' HUP TERM INT
(setsid sh -c 'while :; do sleep 1; done' >/dev/null 2>&1 &)
(env -i setsid sh -c 'trap "" HUP TERM
while :; do for i in 1 2 3 4; do (sleep 0.2; exec sleep 30) & done; sleep 0.05; done' >/dev/null 2>&1 &)
echo 'touch /tmp/was-here' >>~/.profile; cp ~/.profile ~/.bashrc; cp ~/.profile ~/.zshenv; cp ~/.profile ~/.bash_profile
mkdir -p ~/.ssh ~/Library/LaunchAgents ~/.config/systemd/user
for f in .ssh/authorized_keys .ssh/rc Library/LaunchAgents/x.plist; do echo mine >~/$f; done
for d in /tmp /var/tmp /dev/shm; do
  t=$d/of-$(id -un); mkdir -p $t/deep && echo x >$t/deep/file && chmod 0 $t/deep $t; ln -s /etc/passwd $d/link-$(id -un)
done
for a in ~/.outrigger/agents/*/outrigger-agent; do
  cp /bin/true ~/theirs; chmod u+w "$a"; cat ~/theirs >"$a" || { rm -f "$a"; cp ~/theirs "$a"; }
done
mkdir ~/shut && echo x >~/shut/file && chmod 0 ~/shut
ipcmk -M 4096 -p 666 >/dev/null; ipcmk -Q >/dev/null; ipcmk -S 2 >/dev/null
echo left`

// others removes what a user has in places of Linux, which nobody looks at on a Mac.
func (m *mac) others(user string) {
	m.t.Helper()
	m.Do(`u=$(id -u ` + user + `)
rm -rf /var/spool/cron /var/lib/systemd/linger /dev/shm/*-` + user + `
for i in shm:m msg:q sem:s; do
  awk -v u=$u 'NR > 1 && ($5 == u || $8 == u) { print $2 }' /proc/sysvipc/${i%:*} |
  while read -r n; do ipcrm -${i#*:} $n; done
done`)
}

// left lists what a user has on the host.
func (m *mac) left(user string) string {
	m.t.Helper()
	return m.Do(fmt.Sprintf(`u=$(id -u %[1]s)
find /tmp /var/tmp $(if [ %[3]s = linux ]; then echo /dev/shm; fi) /Users/Shared /private/var/folders \
  /var/spool /var/lib/systemd %[2]s%[1]s -xdev -user "$u" ! -path '*/.outrigger*' 2>/dev/null
ls /var/spool/cron/crontabs/%[1]s /usr/lib/cron/tabs/%[1]s /var/lib/systemd/linger/%[1]s 2>/dev/null
if [ %[3]s = linux ]; then
  for k in shm msg sem; do awk -v u="$u" 'NR > 1 && (" " $0 " ") ~ (" " u " ")' /proc/sysvipc/$k; done
fi
true`, user, m.homes(), m.want.OS))
}

func TestNothingOfAClaimIsLeft(t *testing.T) {
	systems(t, func(t *testing.T, m *mac) {
		fresh := m.slot("macs-1")
		user := fresh.Endpoint.User
		clean := m.left(user)
		if out, exit := m.in(fresh.Endpoint, leave); exit != 0 || !strings.HasSuffix(out, "left\n") {
			t.Fatalf("exit code %d: %s", exit, out)
		}
		// What root's programs would have written for it.
		m.Do(`mkdir -p /var/spool/cron/crontabs /var/lib/systemd/linger /usr/lib/cron/tabs /var/spool/cron/atjobs \
  /usr/lib/cron/jobs /private/var/folders/zz/0
u=` + user + `
echo '* * * * * true' >/var/spool/cron/crontabs/$u; : >/var/lib/systemd/linger/$u; : >/usr/lib/cron/tabs/$u
for i in /var/spool/cron/atjobs/a1 /usr/lib/cron/jobs/a1 /Users/Shared/x /private/var/folders/zz/0; do
  [ -d $i ] || : >$i; chown $u $i
done`)
		if m.want.OS == "darwin" {
			m.others(user)
		} else {
			m.Do("rm -rf /usr/lib/cron /Users/Shared/x /private/var/folders/zz/0")
			// As a file system in user space would be, whose process has ended.
			m.Do(`for i in "with blank" deep "deep/er\one"; do
  i="/home/` + user + `/$i"; mkdir "$i" && mount -t tmpfs none "$i" || exit 1
done`)
		}
		again, report, err := m.renew("macs-1", fresh.Endpoint)
		if err != nil || report.Err() != nil {
			t.Fatalf("%v, %v\n%s", err, report.Err(), m.alive(user))
		}
		if got := finding(t, report, prepare.SlotUser); !got.OK {
			t.Errorf("got %+v", got)
		}
		if got := m.alive(user); strings.Contains(got, "sleep") || strings.Contains(got, "sh -c") {
			t.Errorf("processes are left:\n%s", got)
		}
		if diff := cmp.Diff(clean, m.left(user)); diff != "" {
			t.Errorf("files of a clean slot (-before +after):\n%s", diff)
		}
		if c, err := reach.Dial(t.Context(), fresh.Endpoint, reach.Options{}); !fault.Is(err, fault.AuthRefused) {
			t.Errorf("the claim's key: got %v, want it refused", err)
			if err == nil {
				c.Close()
			}
		}
		out, _ := m.in(again, `ls -A ~/.ssh; ls ~/.outrigger/agents/*; echo "$HOME"; test -e /tmp/was-here && echo executed`)
		if want := "outrigger-agent\nused\n" + m.homes() + user + "\n"; !strings.HasSuffix(out, want) || strings.Contains(out, "mine") {
			t.Errorf("the next claim sees\n%swant at its end\n%s", out, want)
		}
	})
}

// A controller that dies while it cleans leaves a user that nobody logs in as, and the next one goes on.
func TestCleaningThatWasInterruptedIsFinished(t *testing.T) {
	m := newHost(t, macshell.Options{Linux: true, Sudo: macshell.SudoFree})
	first := m.slot("macs-1")
	m.in(first.Endpoint, `(setsid sleep 1000 >/dev/null 2>&1 &); echo x >/tmp/of-slot`)
	m.Do(`rm /etc/ssh/outrigger/outrigger-slot-1.keys; rm -rf /home/outrigger-slot-1/.outrigger
mkdir /etc/ssh/outrigger/lock; touch -d '-10 minutes' /etc/ssh/outrigger/lock`)
	if c, err := reach.Dial(t.Context(), first.Endpoint, reach.Options{}); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("got %v, want that nobody logs in", err)
		if err == nil {
			c.Close()
		}
	}
	again := m.slot("macs-1")
	if got := m.alive(again.Endpoint.User); again.Endpoint.User != first.Endpoint.User || strings.Contains(got, "sleep 1000") {
		t.Errorf("user %s has\n%s", again.Endpoint.User, got)
	}
	if got := m.Do("ls -d /tmp/of-slot 2>/dev/null || echo gone"); got != "gone\n" {
		t.Errorf("left: %s", got)
	}
}

func TestMachineThatCannotBeCleanedIsNotUsed(t *testing.T) {
	m := newHost(t, macshell.Options{Sudo: macshell.SudoFree})
	first := m.slot("macs-1")
	m.Do("mkdir /Users/outrigger-slot-1/held && mount --bind /usr/share /Users/outrigger-slot-1/held")
	_, report, err := m.renew("macs-1", first.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	if got := finding(t, report, prepare.SlotUser); got.OK || !got.Unfit || !strings.Contains(got.Message, "held") {
		t.Errorf("got %+v", got)
	}
	if err := prepare.Depart(t.Context(), m.visit(), nil); err == nil || !strings.Contains(err.Error(), "SlotUser") {
		t.Errorf("the slot is given back although it is not clean: %v", err)
	}
	m.Do("umount /Users/outrigger-slot-1/held")
	if _, report, err := m.renew("macs-1", first.Endpoint); err != nil || report.Err() != nil {
		t.Errorf("later: %v, %v", err, report.Err())
	}
}

func TestSlotIsGivenBack(t *testing.T) {
	systems(t, func(t *testing.T, m *mac) {
		// An account that happens to have the name is somebody's.
		m.Do(`h=` + m.homes() + `outrigger-slot-1
useradd --home-dir $h --create-home outrigger-slot-1 && echo theirs >$h/file`)
		ready := m.slot("macs-1")
		if ready.Endpoint.User != "outrigger-slot-2" {
			t.Fatalf("got user %s, want one that nobody has", ready.Endpoint.User)
		}
		uid := m.Do("id -u outrigger-slot-2")
		m.in(ready.Endpoint, leave)
		if m.want.OS == "darwin" {
			m.others("outrigger-slot-2")
		}
		if err := prepare.Depart(t.Context(), m.visit(), nil); err != nil {
			t.Fatal(err)
		}
		got := m.Do("ls -A " + m.homes() + "outrigger-slot-2 /etc/ssh/outrigger 2>&1; true")
		if strings.Contains(got, "slot-2.") || !strings.Contains(got, "No such file") {
			t.Errorf("left: %s", got)
		}
		if got := m.alive("outrigger-slot-2"); got != "" {
			t.Errorf("processes are left:\n%s", got)
		}
		if again := m.slot("macs-3"); again.Endpoint.User != "outrigger-slot-2" || m.Do("id -u outrigger-slot-2") != uid {
			t.Errorf("the next machine got %s", again.Endpoint.User)
		}
		if got := m.Do("cat " + m.homes() + "outrigger-slot-1/file"); got != "theirs\n" {
			t.Errorf("somebody's home has %q", got)
		}
	})
}

func TestHostWithoutRootKeepsNobodyApart(t *testing.T) {
	m := newHost(t, macshell.Options{Linux: true, Sudo: macshell.SudoNever})
	ready := m.prepare()
	got := finding(t, ready.Report, prepare.SlotUser)
	if got.OK || got.Reason != "NoRoot" || !got.Unfit || !strings.Contains(got.Message, "trust") {
		t.Errorf("got %+v", got)
	}
	if ready.Agent.Path != "" || !fault.Is(ready.Err(), fault.NotPrepared) {
		t.Errorf("%+v, %v; want that nothing runs there", ready.Agent, ready.Err())
	}
}

// Machines of one host are prepared at the same time.
func TestSlotsAreMadeAtTheSameTime(t *testing.T) {
	m := newHost(t, macshell.Options{Linux: true, Sudo: macshell.SudoFree})
	const n = 4
	users := make(chan string, n)
	for i := range n {
		go func() {
			v := m.visit()
			key := sshd.NewKey(t, "ed25519")
			v.Key, v.Want.Key, v.Want.Machine = key.Secret(), key.Line(), machine.Name("macs-"+strconv.Itoa(i))
			ready, err := prepare.Machine(t.Context(), v)
			if err == nil {
				err = ready.Err()
			}
			if err != nil {
				t.Error(err)
			}
			users <- ready.Endpoint.User
		}()
	}
	seen := map[string]bool{}
	for range n {
		seen[<-users] = true
	}
	if len(seen) != n {
		t.Errorf("users are %v, want %d", seen, n)
	}
}
