//go:build linux

package home

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/test/macshell"
)

// TestMain is also the agent, as far as it looks after a home.
func TestMain(m *testing.M) {
	h := Home{Dir: os.Getenv("HOME"), File: os.Getenv("HOME_RECORD"), Sole: true}
	switch what, arg, _ := strings.Cut(os.Getenv("HOME_TEST"), " "); what {
	case "record":
		digest, err := h.Record(context.Background())
		fmt.Printf("%x %v\n", digest, err)
		os.Exit(0)
	case "restore":
		digest, err := hex.DecodeString(arg)
		fmt.Println(h.Restore(context.Background(), digest), err)
		os.Exit(0)
	case "sleep": // as another daemon of the same program
		<-time.After(time.Hour)
	}
	os.Exit(m.Run())
}

// leave does what a tenant can do to be there when the next one comes; W is a folder of its own.
const leave = `set -e
cp /bin/sleep $W/systemd; cp /bin/sleep $W/hides; chmod 111 $W/hides; cp $AGENT $W/agent
(setsid $W/systemd 1000 >/dev/null 2>&1 &) # a process that calls itself a manager of others
(setsid $W/hides 1001 >/dev/null 2>&1 &)   # one whose /proc is root's
(HOME_TEST=sleep setsid $AGENT >/dev/null 2>&1 &)
(env -i setsid sh -c 'trap "" HUP TERM; while :; do (sleep 0.2; exec sleep 30) & sleep 0.05; done' >/dev/null 2>&1 &)
echo '* * * * * touch /tmp/was-here' | crontab -
echo 'touch /tmp/was-here' | at now + 2 hours 2>/dev/null
ipcmk -M 4096 -p 666 >/dev/null; ipcmk -Q >/dev/null; ipcmk -S 2 >/dev/null
for d in /tmp /var/tmp /dev/shm; do
  t=$d/of-$(id -un); mkdir -p $t/deep; echo x >$t/deep/file; chmod 0 $t/deep $t; ln -s /etc/passwd $d/link-$(id -un)
done
mkfifo /tmp/pipe-$(id -un)
echo mine >~/.ssh/rc; echo mine >~/.ssh/environment; chmod 0 ~/.ssh
mkdir -p ~/bin ~/.local/lib/python3.13/site-packages
cp /bin/true ~/bin/git; echo 'import os' >~/.local/lib/python3.13/site-packages/zz.pth; chmod 0 ~/.local/lib/python3.13/site-packages
echo theirs >~/.local/bin/tool; chmod 0 ~/.local/bin ~/.local
truncate -s 8E ~/.gitconfig 2>/dev/null || truncate -s 8T ~/.gitconfig
i=0; p=~/.bashrc.d; while [ $i -lt 100 ]; do p=$p/deep; i=$((i+1)); done; mkdir -p $p; chmod 0 $p ~/.bashrc.d
echo left`

const seen = `ps -A -o uid= -o stat= -o args= | awk -v u="$U" '$1 == u && $2 !~ /^Z/'
crontab -l -u tenant 2>/dev/null || :; ls /var/spool/cron/crontabs
find /var/spool/cron/atjobs /tmp /var/tmp /dev/shm -xdev -maxdepth 1 -user tenant
for k in shm msg sem; do awk -v u="$U" 'NR > 1 && (" " $0 " ") ~ (" " u " ")' /proc/sysvipc/$k; done
cd /home/tenant && find . -path ./.local/lib -prune -o -printf '%M %p\n' | sort; find .local/lib -type f 2>/dev/null; cat .profile .local/bin/tool`

// As a tenant on a machine that is ours alone and whose login is not root.
func TestNothingOfATenantIsLeft(t *testing.T) {
	for _, p := range []string{"crontab", "at", "ipcmk"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("not installed: %v", err)
		}
	}
	m := macshell.Start(t, macshell.Options{Linux: true})
	top, err := os.MkdirTemp("", "outrigger-home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	agent := filepath.Join(top, "agent")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	uid := strings.TrimSpace(m.Do(`useradd --system --create-home --home-dir /home/tenant --shell /bin/sh tenant
mkdir -p -m 700 /home/tenant/.ssh /home/tenant/.local/bin && echo ours >/home/tenant/.local/bin/tool
chmod 755 ` + top + ` && cp ` + self + ` ` + agent + ` && mkdir ` + top + `/w
chown -R tenant /home/tenant ` + top + `/w; id -u tenant`))
	do := func(env, command string) string {
		return m.Do(`cd /; setpriv --reuid tenant --regid tenant --clear-groups env -i PATH=/usr/bin:/bin HOME=/home/tenant W=` + top + `/w AGENT=` + agent +
			` HOME_RECORD=` + top + `/w/home.json ` + env + ` ` + command)
	}
	see := func() string { return m.Do("U=" + uid + "; " + seen) }
	digest, failed, _ := strings.Cut(strings.TrimSpace(do("HOME_TEST=record", agent)), " ")
	if failed != "<nil>" {
		t.Fatalf("record: %s", failed)
	}
	clean := see()
	if out := do("", "sh -c '"+strings.ReplaceAll(leave, "'", `'\''`)+"'"); !strings.HasSuffix(out, "left\n") {
		t.Fatal(out)
	}
	// Somebody who is still logged in: a process that root has started for the user.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	login := exec.CommandContext(ctx, "sleep", "1002")
	var id uint32
	if _, err := fmt.Sscan(uid, &id); err != nil {
		t.Fatal(err)
	}
	login.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}, Pdeathsig: syscall.SIGKILL}
	if err := login.Start(); err != nil {
		t.Fatal(err)
	}
	if out := do("'HOME_TEST=restore "+digest+"'", agent); out != "[] <nil>\n" {
		t.Errorf("restore: %s", out)
	}
	if err := login.Wait(); err == nil || ctx.Err() != nil {
		t.Errorf("who was logged in still is: %v", err)
	}
	if now := see(); now != clean {
		t.Errorf("before:\n%s\nafter:\n%s", clean, now)
	}
}
