package prepare

import (
	"fmt"
	"strconv"
	"strings"
)

// apfsUtil makes what synthetic.conf(5) names without a restart. Its exit code says nothing:
// installers that use it have found it to fail after it had made the links.
const apfsUtil = "/System/Library/Filesystems/apfs.fs/Contents/Resources/apfs.util"

// lookLinks tells for each name of the root folder where /etc/synthetic.conf leads it
// and what is there: entry.NAME and link.NAME, and gone.NAME if that leads nowhere.
func lookLinks(w Want, _ Power) Script {
	return Script{Text: fmt.Sprintf(`for n in %s; do
  if [ -f /etc/synthetic.conf ]; then awk -F '\t' -v n="$n" '$1 == n { print "entry." n "=" $2 }' /etc/synthetic.conf; fi
  if [ -L "/$n" ]; then echo "link.$n=$(readlink "/$n")"; if [ ! -d "/$n/" ]; then echo "gone.$n=yes"; fi; elif [ -e "/$n" ]; then echo "there.$n=yes"; fi
done`, quoted(w.Linked))}
}

func quoted(all []string) string {
	q := make([]string, len(all))
	for i, s := range all {
		q[i] = quote(s)
	}
	return strings.Join(q, " ")
}

// place is where a name of the root folder must lead: the agent's folder for it, see
// package internal/agent/link, as synthetic.conf wants it: without the first slash.
func place(w Want, name string) string { return strings.TrimPrefix(w.AgentRoot+"/at/"+name, "/") }

func judgeLinks(w Want, s Seen) Verdict {
	var missing, unmade, gone []string
	for _, n := range w.Linked {
		entry, named := s.Values["entry."+n]
		link, linked := s.Values["link."+n]
		switch {
		case named && entry != place(w, n):
			return give("Taken", "/etc/synthetic.conf leads /%s to /%s", n, entry)
		case s.Values["there."+n] == "yes":
			return give("Taken", "there is a /%s that is not ours", n)
		case named && linked && strings.TrimPrefix(link, "/") == place(w, n):
			if s.Values["gone."+n] == "yes" { // the image that the machine is made of has the link, and not our folder
				gone = append(gone, "/"+n)
			}
		case named:
			unmade = append(unmade, "/"+n)
		case linked:
			return give("Taken", "there is a /%s that leads to %s", n, link)
		default:
			missing = append(missing, "/"+n)
		}
	}
	switch {
	case len(missing) > 0:
		return act("Missing", "%s cannot be made on a Mac but through /etc/synthetic.conf", strings.Join(missing, ", "))
	case len(unmade) > 0:
		return act("NeedsRestart", "/etc/synthetic.conf names %s, and they are not there before a restart", strings.Join(unmade, ", "))
	case len(gone) > 0:
		return act("Missing", "%s leads nowhere: the agent's folder for it is not there", strings.Join(gone, ", "))
	}
	return fine("Links", "")
}

// addLinks adds the entries that are missing and has all of them made. An entry
// is a name, a tab and a target relative to the root folder.
func addLinks(w Want, s Seen) Script {
	var lines strings.Builder
	made := true
	for _, n := range w.Linked {
		_, linked := s.Values["link."+n]
		made = made && linked
		if _, named := s.Values["entry."+n]; !named {
			fmt.Fprintf(&lines, "printf '%%s\\t%%s\\n' %s %s >>\"$f\" || exit 1\n", quote(n), quote(place(w, n)))
		}
	}
	if made { // all are there, and lead to folders that are not
		return Script{Text: fmt.Sprintf(`for d in %s; do mkdir -p "/$d" || exit 1; done`, quoted(places(w)))}
	}
	return Script{As: AsRoot, Text: fmt.Sprintf(`umask 022; f=/etc/synthetic.conf
if [ -s "$f" ] && [ -n "$(tail -c 1 "$f")" ]; then echo >>"$f"; fi
%s%s -t
for d in %s; do /usr/bin/sudo -n -u %s mkdir -p "/$d" || exit 1; done`, lines.String(), apfsUtil, quoted(places(w)), quote(s.Power.User))}
}

func places(w Want) []string {
	var all []string
	for _, n := range w.Linked {
		all = append(all, place(w, n))
	}
	return all
}

// awakeLabel names the launch agent that keeps a Mac awake whose power settings
// the login may not change.
const awakeLabel = "dev.outrigger.awake"

// lookAwake reads the power settings in force (pmset(1): minutes, 0 is never), the
// screen saver's time, and whether our launch agent runs.
func lookAwake(_ Want, p Power) Script {
	return Script{Text: fmt.Sprintf(`/usr/bin/pmset -g | awk '$1 == "sleep" || $1 == "displaysleep" || $1 == "disksleep" { print $1 "=" $2 }'
echo "saver=$(/usr/bin/defaults -currentHost read com.apple.screensaver idleTime 2>/dev/null)"
/bin/launchctl print gui/%s/%s 2>/dev/null | awk '$1 == "state" && $2 == "=" { print "awake=" $3 }'`, p.UID, awakeLabel)}
}

func judgeAwake(_ Want, s Seen) Verdict {
	sleep, known := s.Values["sleep"]
	if !known {
		return give("Unknown", "pmset does not say when the machine sleeps: %s", s.Words)
	}
	switch {
	case s.Values["awake"] == "running":
		return fine("Caffeinated", "")
	case sleep == "0" && s.Values["displaysleep"] == "0" && s.Values["saver"] == "0":
		return fine("NeverSleeps", "")
	case sleep == "0" && s.Done:
		return fine("NeverSleeps", "but its display sleeps after %s minutes and its screen saver starts after %q seconds", s.Values["displaysleep"], s.Values["saver"])
	}
	return act("Sleeps", "the machine sleeps after %s minutes, its display after %s", sleep, s.Values["displaysleep"])
}

// keepAwake changes the power settings, or, where only the user can be asked, keeps
// caffeinate(8) running in the user's session: -d the display, -i idle, -m disks, -s the system.
func keepAwake(w Want, s Seen) Script {
	const saver = `/usr/bin/defaults -currentHost write com.apple.screensaver idleTime -int 0`
	if s.Power.Root() {
		return Script{As: AsRoot, Text: fmt.Sprintf(`/usr/bin/pmset -a sleep 0 displaysleep 0 disksleep 0 || exit 1
/usr/bin/sudo -n -H -u %s %s`, quote(s.Power.User), saver)}
	}
	return Script{Text: fmt.Sprintf(`umask 077; f=%s
cat >"$f" <<'PLIST' || exit 1
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
<key>Label</key>
<string>%s</string>
<key>ProgramArguments</key>
<array>
<string>/usr/bin/caffeinate</string>
<string>-dims</string>
</array>
<key>KeepAlive</key>
<true/>
</dict>
</plist>
PLIST
%s
/bin/launchctl bootstrap gui/%s "$f"`, quote(w.AgentRoot+"/awake.plist"), awakeLabel, saver, s.Power.UID)}
}

// letSleep ends the launch agent that kept the Mac awake. Changed power settings
// stay: others may rely on them by now.
func letSleep(_ Want, p Power) Script {
	return Script{Text: fmt.Sprintf(`if /bin/launchctl print gui/%[1]s/%[2]s >/dev/null 2>&1; then /bin/launchctl bootout gui/%[1]s/%[2]s; fi`, p.UID, awakeLabel)}
}

// lookConsole tells who owns the screen (loginwindow gives /dev/console to the user who
// is logged in; else it is root's) and who would be logged in there by itself.
func lookConsole(Want, Power) Script {
	return Script{Text: `echo "console=$(/usr/bin/stat -f %Su /dev/console)"
echo "auto=$(/usr/bin/defaults read /Library/Preferences/com.apple.loginwindow autoLoginUser 2>/dev/null)"`}
}

func judgeConsole(_ Want, s Seen) Verdict {
	console := s.Values["console"]
	switch {
	case console == "":
		return give("Unknown", "the machine does not say who is logged in at its screen: %s", s.Words)
	case console == s.Power.User:
		return fine("LoggedIn", "")
	case s.Values["auto"] == s.Power.User:
		return wait("LoggingIn", "user %s is to be logged in at the screen by itself, and is not yet", s.Power.User)
	case console == "root":
		return give("NobodyLoggedIn", "nobody is logged in at the screen, and nobody will be by itself: turn automatic login on in the image")
	}
	return give("SomebodyElse", "%s is logged in at the screen, and we log in as %s", console, s.Power.User)
}

// lookSession asks the agent's daemon, which it starts, in which session it is, and so
// what runs on this machine will be in.
func lookSession(w Want, _ Power) Script {
	return Script{Text: fmt.Sprintf(`echo "console=$(/usr/bin/stat -f %%Su /dev/console)"
%s status --root %s`, quote(w.Agent), quote(w.AgentRoot))}
}

func judgeSession(_ Want, s Seen) Verdict {
	kind := s.Values["session"]
	switch {
	case kind == "":
		return give("Unknown", "the agent does not say in which session it runs: %s", s.Words)
	case kind == "aqua":
		return fine("Aqua", "")
	case s.Values["console"] != s.Power.User:
		return give("NoWindowServer", "what runs is in a session of kind %s: simulators hang and codesign may not ask, since %s is not logged in at the screen", kind, s.Power.User)
	}
	if n, err := strconv.Atoi(s.Values["runs"]); err == nil && n > 0 {
		return give("Busy", "what runs is in a session of kind %s, and %d runs are under way", kind, n)
	}
	return act("NoWindowServer", "what runs is in a session of kind %s, although %s is logged in at the screen", kind, s.Power.User)
}

// restartDaemon ends a daemon that was started before anybody was logged in.
func restartDaemon(w Want, _ Seen) Script {
	return Script{Text: fmt.Sprintf(`%s stop --root %s`, quote(w.Agent), quote(w.AgentRoot))}
}
