//go:build linux

package prepare_test

import (
	"os/exec"
	"strings"
	"testing"

	"outrigger.dev/outrigger/test/macshell"
)

// lend makes programs with the rights of whoever executes this, in the places that are named.
const lend = `for i in $PLACES; do cp /bin/cat "$i" && chmod 4755 "$i" || exit 1; done
cp "$(readlink -f /usr/bin/python3)" /tmp/lent-python && chmod 4755 /tmp/lent-python && echo lent`

// keep holds on to them in ways that a file's removal does not end: each waits until ~/go is there and reads then what only
// the other user may read.
const keep = `umask 077; chmod 711 ~
await='while [ ! -e ~/go ]; do sleep 0.05; done'
(exec 9</tmp/lent-cat; setsid sh -c "$await; exec /proc/self/fd/9 $SECRET" >~/by-descriptor 2>&1 </dev/null &)
(setsid /tmp/lent-python -c "
import os, time
theirs = os.geteuid()
os.seteuid(os.getuid())
while not os.path.exists(os.path.expanduser('~/go')): time.sleep(0.05)
os.seteuid(theirs)
os.system('exec 2>&1; whoami')
print(open('$SECRET').read())" >~/by-saved-id 2>&1 </dev/null &)
for i in by-descriptor by-saved-id; do while [ ! -e ~/$i ]; do sleep 0.05; done; done
echo kept`

// Two claims of one owner, side by side: what the first lends to the second must be of no use when somebody else gets the
// first one's slot.
func TestWhatWasLentToTheOneBesideEnds(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	m := newHost(t, macshell.Options{Linux: true, Sudo: macshell.SudoFree})
	one, two := m.slot("macs-1"), m.slot("macs-2")
	secret, box := "/home/outrigger-slot-1/secret", "/home/outrigger-slot-2/box"
	if out, exit := m.in(two.Endpoint, "chmod 711 ~; mkdir ~/box ~/box/in && chmod 777 ~/box ~/box/in && echo yes"); exit != 0 {
		t.Fatal(out)
	}
	m.Do("mkdir -p /var/spool/drop && chmod 1777 /var/spool/drop; mkdir -p /opt/ours/all /scratch && chmod 777 /opt/ours/all /scratch")
	places := "/tmp/lent-cat " + box + "/cat " + box + "/in/cat /var/spool/drop/cat /opt/ours/all/cat /scratch/cat /run/lock/cat"
	if out, exit := m.in(one.Endpoint, "PLACES='"+places+"'; "+lend); exit != 0 || !strings.HasSuffix(out, "lent\n") {
		t.Fatalf("exit code %d: %s", exit, out)
	}
	if out, exit := m.in(two.Endpoint, "SECRET="+secret+"; "+keep); exit != 0 || !strings.HasSuffix(out, "kept\n") {
		t.Fatalf("exit code %d: %s", exit, out)
	}
	again, report, err := m.renew("macs-1", one.Endpoint)
	if err != nil || report.Err() != nil {
		t.Fatalf("%v, %v", err, report.Err())
	}
	if out, exit := m.in(again, "umask 077; echo victims >"+secret+" && id -u"); exit != 0 {
		t.Fatal(out)
	}
	out, _ := m.in(two.Endpoint, `touch ~/go
n=0; while [ $n -lt 40 ] && ! grep -q victims ~/by-*; do sleep 0.05; n=$((n+1)); done
for i in `+places+`; do $i `+secret+`; done; cat ~/by-*`)
	if strings.Contains(out, "victims") {
		t.Errorf("the claim beside reads what the next one keeps:\n%s", out)
	}
	if got := m.Do("find /tmp /var /opt /run /scratch /home/outrigger-slot-2 -xdev -user outrigger-slot-1 ! -type d 2>/dev/null; true"); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

// A user's file system in user space may be at any path that the user can write to.
func TestMountsOfAnyNameAreTakenAway(t *testing.T) {
	m := newHost(t, macshell.Options{Linux: true, Sudo: macshell.SudoFree})
	first := m.slot("macs-1")
	m.Do("h=/home/outrigger-slot-1; for i in 'new\nline' '100%s' 'end\n' 'back\\slash' 'ta\tb'; do\n" +
		`mkdir "$h/$i" && mount -t tmpfs none "$h/$i" || exit 1; done`)
	if _, report, err := m.renew("macs-1", first.Endpoint); err != nil || report.Err() != nil {
		t.Errorf("%v, %v", err, report.Err())
	}
	if got := m.Do("grep outrigger-slot-1 /proc/mounts; true"); got != "" {
		t.Errorf("left:\n%s", got)
	}
}
