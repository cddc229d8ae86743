package prepare

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"outrigger.dev/outrigger/internal/machine"
)

func TestJudgements(t *testing.T) {
	began := time.Unix(1_700_000_000, 0)
	root := Power{User: "admin", UID: "501", Sudo: SudoFree}
	want := Want{OS: "darwin", Machine: "m-1", AgentRoot: "/Users/admin/.outrigger", Linked: []string{"workspace"}, MinFree: 1 << 30,
		Keychain: &Keychain{Identities: make([]Identity, 1)}}
	words := map[Next]string{Fine: "fine", Act: "act", Wait: "wait", Give: "give"}
	for _, tt := range []struct {
		name  string
		judge func(Want, Seen) Verdict
		seen  string
		done  bool
		want  string
	}{
		{"the key is there", judgeKey, "here=yes stale=0", false, "fine Installed"},
		{"an older key of the machine is there too", judgeKey, "here=yes stale=1", false, "act NotInstalled"},
		{"no authorized_keys", judgeKey, "", false, "act NotInstalled"},
		{"passwords are off", judgePasswordOff, "passwordauthentication=no kbdinteractiveauthentication=no", false, "fine Off"},
		{"an older sshd", judgePasswordOff, "passwordauthentication=no challengeresponseauthentication=no", false, "fine Off"},
		{"PAM asks for the password", judgePasswordOff, "passwordauthentication=no kbdinteractiveauthentication=yes", false, "act On"},
		{"sshd says nothing", judgePasswordOff, "", false, "give Unknown"},
		{"room", judgeDisk, "free=2097152", false, "fine Room"},
		{"no room", judgeDisk, "free=1000", false, "give Low"},
		{"df says nothing", judgeDisk, "", false, "give Unknown"},
		{"the clock is right", judgeClock, "now=1700000001", false, "fine Right"},
		{"the clock is 2 s ahead", judgeClock, "now=1700000004", false, "fine Right"},
		{"the clock is ahead", judgeClock, "now=1700000010", false, "act Wrong"},
		{"the clock is behind", judgeClock, "now=1699990000", false, "act Wrong"},
		{"date says nonsense", judgeClock, "now=x", false, "give Unknown"},
		{"links are there", judgeLinks, "entry.workspace=Users/admin/.outrigger/at/workspace link.workspace=Users/admin/.outrigger/at/workspace", false, "fine Links"},
		{"links seen with a slash", judgeLinks, "entry.workspace=Users/admin/.outrigger/at/workspace link.workspace=/Users/admin/.outrigger/at/workspace", false, "fine Links"},
		{"links that lead nowhere", judgeLinks, "entry.workspace=Users/admin/.outrigger/at/workspace link.workspace=Users/admin/.outrigger/at/workspace gone.workspace=yes", false, "act Missing"},
		{"no links", judgeLinks, "", false, "act Missing"},
		{"entries that are not made", judgeLinks, "entry.workspace=Users/admin/.outrigger/at/workspace", true, "act NeedsRestart"},
		{"an entry of somebody else", judgeLinks, "entry.workspace=Volumes/W", false, "give Taken"},
		{"a folder", judgeLinks, "there.workspace=yes", false, "give Taken"},
		{"a link that is no entry", judgeLinks, "link.workspace=Volumes/W", false, "give Taken"},
		{"it never sleeps", judgeAwake, "sleep=0 displaysleep=0 saver=0", false, "fine NeverSleeps"},
		{"the display sleeps", judgeAwake, "sleep=0 displaysleep=10 saver=0", false, "act Sleeps"},
		{"the display goes on sleeping", judgeAwake, "sleep=0 displaysleep=10 saver=0", true, "fine NeverSleeps"},
		{"caffeinate runs", judgeAwake, "sleep=1 displaysleep=10 saver= awake=running", true, "fine Caffeinated"},
		{"no pmset", judgeAwake, "", false, "give Unknown"},
		{"logged in", judgeConsole, "console=admin auto=", false, "fine LoggedIn"},
		{"about to be", judgeConsole, "console=root auto=admin", false, "wait LoggingIn"},
		{"nobody", judgeConsole, "console=root auto=", false, "give NobodyLoggedIn"},
		{"somebody else", judgeConsole, "console=eve auto=", false, "give SomebodyElse"},
		{"in the session", judgeSession, "console=admin session=aqua runs=0", false, "fine Aqua"},
		{"started before the login", judgeSession, "console=admin session=background runs=0", false, "act NoWindowServer"},
		{"and something runs", judgeSession, "console=admin session=background runs=1", false, "give Busy"},
		{"no session", judgeSession, "console=root session=background runs=0", false, "give NoWindowServer"},
		{"a keychain of before", judgeKeychain, "there=yes unlocked=0 searched=yes identities=1", false, "act Absent"},
		{"a keychain", judgeKeychain, "there=yes unlocked=0 searched=yes identities=1", true, "fine Unlocked"},
		{"a locked one", judgeKeychain, "there=yes unlocked=36 searched=yes identities=1", true, "act Locked"},
		{"one that is not searched", judgeKeychain, "there=yes unlocked=0 identities=1", true, "act NotSearched"},
		{"an empty one", judgeKeychain, "there=yes unlocked=0 searched=yes identities=0", true, "act NoIdentity"},
		{"sudo", judgeRoot, "", false, "fine Sudo"},
	} {
		got := tt.judge(want, Seen{Values: parse(strings.ReplaceAll(tt.seen, " ", "\n")), Began: began, Ended: began.Add(2 * time.Second), Power: root, Done: tt.done})
		if s := words[got.Next] + " " + got.Reason; s != tt.want {
			t.Errorf("%s: %s (%s), want %s", tt.name, s, got.Message, tt.want)
		}
	}
}

func TestCommandLines(t *testing.T) {
	secret := machine.NewSecret("s3cret")
	const clean = "exec /usr/bin/env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin "
	for _, tt := range []struct {
		power  Sudo
		as     As
		os     string
		line   string
		before string
	}{
		{SudoNone, AsUser, "linux", "/bin/sh -s", ""},
		{SudoRoot, AsRoot, "linux", clean + "/bin/sh -s", ""},
		{SudoFree, AsRoot, "darwin", clean + "/usr/bin/sudo -n -- /bin/sh -s", ""},
		{SudoPassword, AsRoot, "darwin", clean + "/usr/bin/sudo -k -S -p '' -- /bin/sh -s", "s3cret\n"},
		{SudoPassword, AsUser, "darwin", "/bin/sh -s", ""},
		{SudoFree, AsConsole, "darwin", clean + "/usr/bin/sudo -n -- /bin/launchctl asuser 501 /usr/bin/sudo -n -H -u 'admin' /bin/sh -s", ""},
		{SudoNone, AsUser, "windows", "powershell -NoProfile -NonInteractive -Command -", ""},
	} {
		line, before := Power{User: "admin", UID: "501", Sudo: tt.power}.command(Script{As: tt.as}, tt.os, secret)
		if line != tt.line || before != tt.before {
			t.Errorf("%s as %d: got %q with %q before, want %q with %q", tt.power, tt.as, line, before, tt.line, tt.before)
		}
	}
}

func TestWordsAreBounded(t *testing.T) {
	if got := words(Output{Stderr: "\x1b]52;c;cm0=\x07\u202eab\xff\nc"}); strings.ContainsAny(got, "\x1b\x07\u202e\n") || !utf8.ValidString(got) {
		t.Errorf("a terminal would obey %q", got)
	}
	for _, value := range parse("session=aqua\x1b[2J\nroot=/a\u202eb\r\n") {
		if strings.ContainsAny(value, "\x1b\u202e\r") {
			t.Errorf("a terminal would obey %q", value)
		}
	}
	got := words(Output{Stderr: strings.Repeat("x\n", 5000) + "the end"})
	if len(got) > maxWords+10 || !strings.HasSuffix(got, "the end") || strings.Contains(got, "\n") {
		t.Errorf("got %d bytes: %q", len(got), got)
	}
}
