package prepare

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
)

// What claims run on a host that goes on is of a system user of the slot's own, where the pool asks for it. The pool's
// login stays the controller's: it makes that user, and between two claims it ends the user's processes and makes its
// home anew, as root. So nothing that a claim can write is executed with more rights than the claim had.
//
// slotFolder says which machine has which user (NAME.machine) and who may log in as it (NAME.keys). Both are root's.
// The key is written last and removed first: a user whose cleaning was interrupted lets nobody in, and the next
// preparing cleans it again.
const (
	slotFolder = "/etc/ssh/outrigger"
	slotPrefix = "outrigger-slot-"
	// slotComment tells a user that we made from one that happens to have its name. It is set before the user
	// has a number, and so before anything could be its.
	slotComment = "Outrigger slot"
)

var slotName = regexp.MustCompile(`^` + slotPrefix + `[1-9][0-9]{0,4}$`)

// IsSlotUser tells whether a user is one that preparing makes for a slot.
func IsSlotUser(user string) bool { return slotName.MatchString(user) }

func wantsSlotUser(w Want) bool { return w.Separate }

// slotScript defines what the scripts about slots share:
//
//	mine           prints the machine's user
//	exists USER    tells whether there is such a user
//	ours USER      tells whether we made it
//	alive UID      prints the processes of a user that have not ended; saved: such a one becomes the user when it likes
//	make USER      makes the user, without a home
//	starters USER UID  takes away what starts programs by itself
//	leftovers USER UID HOME  takes away what is outside of the home
//	holders UID    ends processes of others that hold what would act as the user when they execute it
//	clean USER UID HOME      ends its processes and removes what it has
func slotScript(w Want) string {
	text := fmt.Sprintf(`umask 022; d=%s; machine=%s; homes=%s; f=/etc/ssh/sshd_config.d/000-outrigger-slots.conf
mine() {
  for i in "$d"/%s*.machine; do
    if [ -f "$i" ] && [ "$(cat "$i")" = "$machine" ]; then i=${i##*/}; echo "${i%%.machine}"; return; fi
  done
}
alive() {
  ps -A -o pid= -o uid= -o ruid= -o svuid= -o stat= | awk -v u="$1" '($2 == u || $3 == u || $4 == u) && $5 !~ /^Z/ { print $1 }'
}
swept() { # UID FOLDER...: removes what the user has in folders that all may write to
  uid=$1; shift
  for i in "$@"; do
    if [ ! -d "$i" ]; then continue; fi
    find "$i/" -xdev -mindepth 1 -maxdepth 1 -user "$uid" -exec rm -rf -- {} +
    # What lies in folders of others is removed as far as they let it be found.
    find "$i/" -xdev -mindepth 1 -user "$uid" -delete >/dev/null 2>&1
    left=$(find "$i/" -xdev -mindepth 1 -maxdepth 1 -user "$uid" | head -n 1)
    if [ -n "$left" ]; then echo "$left cannot be removed" >&2; return 1; fi
  done
}
# Where those beside let it write: a program that it lends its rights to would act as the next one.
given() { # UID HOME
  for i in "$homes"/%s*; do
    if [ ! -d "$i" ] || [ "$i" = "$2" ]; then continue; fi
    find "$i/" -xdev -user "$1" -delete >/dev/null 2>&1
    left=$(find "$i/" -xdev -user "$1" ! -type d | head -n 1)
    if [ -n "$left" ]; then echo "$left cannot be removed" >&2; return 1; fi
  done
}
clean() { # USER UID HOME
  if [ "$2" = 0 ] || [ -z "$3" ]; then return 1; fi
  rm -f "$d/$1.keys" || return 1
  starters "$1" "$2"
  n=0
  while [ -n "$(alive "$2")" ]; do
    n=$((n+1))
    if [ "$n" -gt 100 ]; then echo "processes of $1 do not end: $(alive "$2" | tr '\n' ' ')" >&2; return 1; fi
    # All at once as the user, by which a tree that forks faster than it is listed ends too.
    killall_of "$1" "$2" >/dev/null 2>&1
    for i in $(alive "$2"); do kill -KILL "$i" 2>/dev/null; done
    if [ "$n" -gt 5 ]; then sleep 0.1; fi
  done
  starters "$1" "$2" # again: until now it could write them
  leftovers "$1" "$2" "$3" || return 1
  rm -rf -- "$3" || return 1
  given "$2" "$3" || return 1
  holders "$2" || return 1
  left=$(alive "$2" | head -n 1)
  if [ -n "$left" ]; then echo "process $left of $1 was started meanwhile" >&2; return 1; fi
}
`, slotFolder, quote(string(w.Machine)), map[bool]string{true: "/Users", false: "/home"}[w.OS == "darwin"], slotPrefix, slotPrefix)
	if w.OS == "darwin" {
		return text + slotDarwin
	}
	return text + slotLinux
}

// lookSlot tells how things stand with the machine's user; sshd itself says where it reads that user's keys.
func lookSlot(w Want, _ Power) Script {
	return Script{As: AsRoot, Text: slotScript(w) + fmt.Sprintf(`line=%s
u=$(mine); if [ -z "$u" ]; then exit 0; fi
echo "user=$u"
uid=$(id -u "$u" 2>/dev/null) && ours "$u" || exit 0
echo "made=yes"
echo "alive=$(alive "$uid" | wc -l)"
if [ -n "$(find "$homes/$u" -prune -type d -user "$uid" -perm 700 2>/dev/null)" ]; then echo home=yes; fi
if [ "$(cat "$d/$u.keys" 2>/dev/null)" = "$line" ]; then echo key=yes; fi
/usr/sbin/sshd -T -C "user=$u,host=localhost,addr=127.0.0.1" |
awk '/^(authorizedkeysfile|authorizedkeyscommand|authenticationmethods) / { print $1 "=" $2 }'`, quote(keyLine(w))),
	}
}

func judgeSlot(_ Want, s Seen) Verdict {
	user := s.Values["user"]
	switch {
	case !s.Power.Root():
		return give("NoRoot", "user %s does not become root, which makes the user that claims run as: "+
			"let it use sudo, or set the pool's trust to Shared", s.Power.User)
	case !s.Done:
		return act("NotClean", "the user that claims run as is made anew")
	case !IsSlotUser(user) || s.Values["made"] != "yes":
		return act("Absent", "the user that claims run as is not there")
	case s.Values["alive"] != "0":
		return act("NotClean", "%q processes of user %s are there", s.Values["alive"], user)
	case s.Values["home"] != "yes":
		return act("NotClean", "user %s has no home that is its alone", user)
	case s.Values["key"] != "yes":
		return act("NotClean", "the key of user %s is not in place", user)
	case s.Values["authorizedkeysfile"] != slotFolder+"/%u.keys" || s.Values["authenticationmethods"] != "publickey":
		return act("NotRead", "sshd lets user %s in by %q and reads its keys from %q, want %s", user,
			s.Values["authenticationmethods"], s.Values["authorizedkeysfile"], slotFolder+"/%u.keys")
	}
	return fine("Clean", "claims run as user %s", user)
}

// makeSlot finds or makes the machine's user, cleans it and lets the key in. Users are made one at a time on a
// host, whose numbers would be the same else; a lock of somebody who died with it is taken over.
func makeSlot(w Want, _ Seen) Script {
	return Script{As: AsRoot, Text: slotScript(w) + fmt.Sprintf(`line=%s
%smkdir -p "$d" && chmod 755 "$d" || exit 1
n=0
until mkdir "$d/lock" 2>/dev/null; do
  n=$((n+1)); if [ "$n" -gt 600 ]; then echo "$d/lock stays" >&2; exit 1; fi
  if [ -n "$(find "$d/lock" -prune -mmin +2 2>/dev/null)" ]; then rmdir "$d/lock"; fi
  sleep 0.1
done
trap 'rmdir "$d/lock" 2>/dev/null' EXIT
u=$(mine)
n=0
while [ -z "$u" ]; do
  n=$((n+1)); if [ "$n" -gt 9999 ]; then echo "all slots are taken" >&2; exit 1; fi
  i=%s$n
  if [ -e "$d/$i.machine" ]; then continue; fi
  if exists "$i" && ! ours "$i"; then continue; fi
  printf '%%s\n' "$machine" >"$d/new" && mv -f "$d/new" "$d/$i.machine" || exit 1
  u=$i
done
if ! id -u "$u" >/dev/null 2>&1; then make "$u" || exit 1; fi
rmdir "$d/lock"; trap - EXIT
uid=$(id -u "$u") && gid=$(id -g "$u") || exit 1
if ! ours "$u"; then echo "user $u is somebody else's" >&2; exit 1; fi
printf '%%s\n' 'Match User %s*' '	AuthorizedKeysFile %s/%%u.keys' '	AuthorizedKeysCommand none' \
  '	AuthenticationMethods publickey' '	PermitUserRC no' 'Match all' >"$f.$u" || exit 1
if cmp -s "$f.$u" "$f"; then rm -f "$f.$u"; else
  mv -f "$f.$u" "$f" || exit 1
  if ! /usr/sbin/sshd -t; then rm -f "$f"; exit 1; fi%s
fi
h=$homes/$u
clean "$u" "$uid" "$h" || exit 1
mkdir -m 700 "$h" || exit 1
if [ -d /etc/skel ]; then cp -R /etc/skel/. "$h/" || exit 1; fi
chown -R "$uid:$gid" "$h" && chmod 700 "$h" || exit 1
printf '%%s\n' "$line" >"$d/$u.keys.new" && mv -f "$d/$u.keys.new" "$d/$u.keys"`,
		quote(keyLine(w)), sshdReads, slotPrefix, slotPrefix, slotFolder, indented(reload(w)))}
}

// leaveSlot cleans the user for good and gives the slot back. The user stays, without a home and without a key: its
// number is not given to somebody else, who would own what it may have left in places that nobody knows of.
func leaveSlot(w Want, _ Power) Script {
	return Script{As: AsRoot, Text: slotScript(w) + `u=$(mine); if [ -z "$u" ]; then exit 0; fi
if uid=$(id -u "$u" 2>/dev/null) && ours "$u"; then clean "$u" "$uid" "$homes/$u" || exit 1; fi
rm -f "$d/$u.keys" "$d/$u.machine"`}
}

// slotUser asks which user the machine has.
func slotUser(ctx context.Context, sh Shell, w Want) (string, error) {
	r := runner{sh: sh, want: w}
	out, _, err := r.script(ctx, Script{Text: slotScript(w) + `echo "user=$(mine)"`})
	if err != nil {
		return "", err
	}
	user := parse(out.Stdout)["user"]
	if !IsSlotUser(user) {
		return "", fault.New(fault.NotPrepared, "the host does not say which user claims run as: %q, exit code %d: %s", user, out.Exit, words(out))
	}
	return user, nil
}

// renewSlot cleans the user that the claim has run as, which executes nothing as that user before all of its
// processes have ended and its home is a new one. A machine that does not serve again is cleaned when it is left.
func (v Visit) renewSlot(ctx context.Context, own machine.Endpoint, again bool) (Report, error) {
	var report Report
	if !again {
		return report, nil
	}
	err := v.with(ctx, v.Endpoint, func(c *reach.Client) error {
		var err error
		report, err = Run(ctx, Over(c), only(Plan(v.Want.OS), SlotUser), v.Want)
		if err != nil || report.Err() != nil {
			return err
		}
		user, err := slotUser(ctx, Over(c), v.Want)
		if err == nil && user != own.User {
			err = fault.New(fault.NotPrepared, "claims would run as user %s, not as %s any more", user, own.User)
		}
		return err
	})
	if err != nil || report.Err() != nil {
		return report, err
	}
	ready := Ready{Report: report, Endpoint: own}
	err = v.enter(ctx, &ready, nil)
	return ready.Report, err
}

// only is the step of a plan that sees to one condition.
func only(plan []Step, c Condition) []Step {
	return slices.DeleteFunc(plan, func(s Step) bool { return s.Condition != c })
}
