package look

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/prepare"
	"outrigger.dev/outrigger/internal/sanitize"
)

// ask has the machine say how it is: one script, once.
func (m *atMachine) ask(ctx context.Context, f *doctor.Facts) {
	if m.asked || m.client == nil {
		return
	}
	m.asked = true
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	sh := prepare.Over(m.client)
	line, script := "/bin/sh -s", unixScript(m.ep.Root)
	if m.system(ctx) == "windows" {
		line, script = "powershell -NoProfile -NonInteractive -Command -", windowsScript
	}
	began := time.Now()
	out, err := sh.Run(ctx, line, []byte(script))
	ended := time.Now()
	s := &doctor.MachineState{Free: -1, Session: m.s.Session, Agent: m.s.Session != ""}
	f.State = s
	if err != nil {
		s.Trouble = trouble(err)
		return
	}
	told := values(out.Stdout)
	if told["os"] == "" {
		s.Trouble = &doctor.Trouble{Reason: doctor.Other, Text: fmt.Sprintf("the machine's shell does not answer: exit code %d: %s", out.Exit, oneLine(out.Stderr))}
		return
	}
	s.OS, s.System, s.User, s.Sudo, s.Console = strings.ToLower(told["os"]), told["system"], told["user"], told["sudo"], told["console"]
	if kib, err := strconv.ParseInt(told["free"], 10, 64); err == nil {
		s.Free = kib << 10
	}
	if now, err := strconv.ParseInt(told["now"], 10, 64); err == nil {
		s.Timed, s.Skew = true, skew(time.Unix(now, 0), began, ended)
	}
	if n, err := strconv.Atoi(told["leases"]); err == nil && m.s.Slots > 0 {
		f.Slots = &doctor.Slots{Taken: n, Of: m.s.Slots}
		for _, name := range strings.Fields(told["lent"]) {
			switch {
			case slices.Contains(m.s.Own, name):
				f.Slots.Own++
			case slices.Contains(m.s.Inner, name):
				f.Slots.Taken--
			}
		}
	}
}

// system finds out which kind of shell answers, unless it is known.
func (m *atMachine) system(ctx context.Context) string {
	if m.s.OS != "" {
		return m.s.OS
	}
	if _, exit, err := m.client.Output(ctx, "uname -s", nil); err == nil && exit != 0 {
		return "windows" // its shells know no such command
	}
	return ""
}

// skew is how far theirs is ahead. They looked between our two looks, and tell no fractions.
func skew(theirs, began, ended time.Time) time.Duration {
	if early := began.Add(-time.Second).Sub(theirs); early > 0 {
		return -early
	}
	return max(theirs.Sub(ended), 0)
}

// unixScript prints what is asked, and changes nothing. Names that begin with $HOME are the
// machine's own. The login's password is not tried: what runs on the machine may have changed what sudo
// is to the login. Who is in one of the groups that sudoers files name is taken to become root with it.
func unixScript(root string) string {
	folder := `"$HOME/.outrigger"`
	if root != "" {
		folder = "'" + strings.ReplaceAll(root, "'", `'\''`) + "'"
	}
	return `echo "now=$(date +%s)"
echo "os=$(uname -s)"; echo "system=$(uname -srm)"; echo "user=$(id -un)"
if [ "$(id -u)" = 0 ]; then echo sudo=root
elif /usr/bin/sudo -n true </dev/null >/dev/null 2>&1; then echo sudo=sudo
elif id -Gn | grep -qwE 'admin|sudo|wheel'; then echo sudo=password
else echo sudo=none; fi
d=` + folder + `
n=0; lent=; for l in "$d"/leases/*/; do if [ -d "$l" ]; then n=$((n+1)); l=${l%/}; lent="$lent ${l##*/}"; fi; done
echo "leases=$n"; echo "lent=$lent"
while [ ! -d "$d" ]; do d=$(dirname "$d"); done
df -Pk "$d" | awk 'NR == 2 { print "free=" $4 }'
if [ "$(uname -s)" = Darwin ]; then echo "console=$(stat -f %Su /dev/console)"; fi
`
}

const windowsScript = `'now=' + [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()
'os=windows'
'system=' + [Environment]::OSVersion.VersionString
'user=' + $env:USERNAME
$lent = @(Get-ChildItem -Directory "$env:USERPROFILE\.outrigger\leases" -ErrorAction SilentlyContinue)
'leases=' + $lent.Count
'lent=' + ($lent.Name -join ' ')
'free=' + [math]::Floor((Get-PSDrive $env:SystemDrive[0]).Free / 1024)
`

// values reads lines "word=value".
func values(stdout string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(stdout) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			all[k] = strings.TrimSpace(v)
		}
	}
	return all
}

// maxWords bounds what of a machine's words is shown.
const maxWords = 300

func oneLine(s string) string {
	return sanitize.Words(s, maxWords)
}
