package prepare

import "fmt"

// mark ends the lines of authorized_keys that are ours.
func mark(w Want) string { return "outrigger:" + string(w.Machine) }

// keyOptions are what a connection with our key may not do: be handed an agent or a display. Sessions,
// terminals and forwarded ports are what we use. Every server knows these options; Dropbear refuses a
// key with "pty" or "port-forwarding", which OpenSSH wants beside "restrict" (sshd(8)).
const keyOptions = "no-agent-forwarding,no-X11-forwarding"

// keyLine is our line of authorized_keys.
func keyLine(w Want) string { return keyOptions + " " + w.Key + " " + mark(w) }

// lookKey tells whether our key is in authorized_keys, and how many of an earlier
// preparing are.
func lookKey(w Want, _ Power) Script {
	return Script{Text: fmt.Sprintf(`line=%s; mark=%s; f=$HOME/.ssh/authorized_keys
if [ -f "$f" ]; then
  if grep -qxF "$line" "$f"; then echo here=yes; fi
  echo "stale=$(grep -F " $mark" "$f" | grep -cvxF "$line")"
fi`, quote(keyLine(w)), quote(mark(w)))}
}

func judgeKey(_ Want, s Seen) Verdict {
	stale := s.Values["stale"]
	if s.Values["here"] == "yes" && (stale == "" || stale == "0") {
		return fine("Installed", "")
	}
	return act("NotInstalled", "our key is not in authorized_keys")
}

// withKeys changes authorized_keys, whose lines without ours are in "$t". Several machines can be
// one host, prepared at the same time: so under a lock, which is taken over
// from somebody who died with it.
func withKeys(w Want, change string) Script {
	return Script{Text: fmt.Sprintf(`line=%s; mark=%s; umask 077; d=$HOME/.ssh; f=$d/authorized_keys; l=$d/.outrigger-lock; t=$f.outrigger
mkdir -p "$d" || exit 1
n=0
until mkdir "$l" 2>/dev/null; do
  n=$((n+1)); if [ "$n" -gt 300 ]; then echo "$l stays" >&2; exit 1; fi
  if [ -n "$(find "$l" -prune -mmin +1 2>/dev/null)" ]; then rmdir "$l"; fi
  sleep 0.1
done
trap 'rm -f "$t"; rmdir "$l"' EXIT
if [ -f "$f" ]; then grep -vF " $mark" "$f" >"$t"; else : >"$t"; fi
%s`, quote(keyLine(w)), quote(mark(w)), change)}
}

// addKey takes earlier keys of this machine out and puts ours in.
func addKey(w Want, _ Seen) Script {
	return withKeys(w, `echo "$line" >>"$t" && cat "$t" >"$f"`)
}

func removeKey(w Want, _ Power) Script {
	return withKeys(w, `if [ -f "$f" ]; then cat "$t" >"$f"; fi`)
}

func wantsPasswordOff(w Want) bool { return w.PasswordOff }

// lookPasswordOff asks sshd itself what it makes of its files: -T prints the settings
// in force, -C for whom (sshd(8)). OpenSSH before 8.7 has the older word.
func lookPasswordOff(_ Want, p Power) Script {
	return Script{As: AsRoot, Text: fmt.Sprintf(`/usr/sbin/sshd -T -C user=%s,host=localhost,addr=127.0.0.1 |
awk '/^(passwordauthentication|kbdinteractiveauthentication|challengeresponseauthentication) / { print $1 "=" $2 }'`, quote(p.User))}
}

func judgePasswordOff(_ Want, s Seen) Verdict {
	if !s.Power.Root() {
		return give("NoRoot", "the login may not become root, so what sshd lets in cannot be changed")
	}
	password, known := s.Values["passwordauthentication"]
	if !known {
		return give("Unknown", "sshd does not say what it lets in: %s", s.Words)
	}
	asked := s.Values["kbdinteractiveauthentication"] + s.Values["challengeresponseauthentication"]
	if password == "no" && (asked == "no" || asked == "") {
		return fine("Off", "")
	}
	return act("On", "sshd lets passwords in")
}

// turnPasswordOff writes a file that is read before all others of sshd_config.d: of two
// settings the first counts (sshd_config(5)). macOS's sshd is started anew for each
// connection; elsewhere it must be told.
func turnPasswordOff(w Want, _ Seen) Script {
	return Script{As: AsRoot, Text: `d=/etc/ssh/sshd_config.d; f=$d/000-outrigger.conf
umask 022
` + sshdReads + `printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\n' >"$f.new" && mv -f "$f.new" "$f" || exit 1
if ! /usr/sbin/sshd -t; then rm -f "$f"; exit 1; fi` + reload(w)}
}

// turnPasswordOn takes that file away: a machine made of an image is entered with the image's password the first time.
func turnPasswordOn(w Want, _ Power) Script {
	return Script{As: AsRoot, Text: `f=/etc/ssh/sshd_config.d/000-outrigger.conf
if [ ! -e "$f" ]; then exit 0; fi
rm -f "$f" || exit 1` + reload(w)}
}

// reload has sshd read its files again, where it does not for each connection.
func reload(w Want) string {
	if w.OS == "darwin" {
		return ""
	}
	return `
systemctl reload ssh 2>/dev/null || systemctl reload sshd 2>/dev/null || kill -HUP "$(cat /run/sshd.pid)"`
}

func judgeRoot(w Want, s Seen) Verdict {
	switch s.Power.Sudo {
	case SudoRoot:
		return fine("Root", "the login is root")
	case SudoFree:
		return fine("Sudo", "")
	case SudoPassword:
		return fine("SudoWithPassword", "sudo asks for the login's password, which what runs here does not know")
	}
	if w.Tenants && !w.Password.Empty() {
		return give("PasswordWithheld", "sudo asks user %s for the password, which is not sent to where claims run as that user", s.Power.User)
	}
	return give("NoSudo", "user %s is not root and sudo does not let it be", s.Power.User)
}

// judgeRewriting tells how the agent will make absolute paths exist, see package
// internal/agent/link: as root, without being asked for anything.
func judgeRewriting(_ Want, s Seen) Verdict {
	if s.Power.Sudo == SudoRoot || s.Power.Sudo == SudoFree {
		return fine("Links", "")
	}
	return give("Rewritten", "user %s does not become root without a password: absolute paths are rewritten in commands and scripts", s.Power.User)
}
