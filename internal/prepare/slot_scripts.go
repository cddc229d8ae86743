package prepare

import "strings"

// sshdReads ends a script where sshd would not read what it is about to write.
const sshdReads = `if ! grep -qi '^[[:space:]]*Include[[:space:]].*sshd_config\.d/' /etc/ssh/sshd_config; then
  echo "/etc/ssh/sshd_config does not include sshd_config.d" >&2; exit 1
fi
mkdir -p /etc/ssh/sshd_config.d || exit 1
`

func indented(script string) string { return strings.ReplaceAll(script, "\n", "\n  ") }

// slotLinux is the part of slotScript for Linux. A user that is made with --system gets no numbers of its own for
// containers (subuid(5)), under which its processes would not be found. * as password: there is none, and
// sshd does not take the account for locked.
const slotLinux = `exists() { getent passwd "$1" >/dev/null; }
ours() { [ "$(getent passwd "$1" | cut -d: -f5)" = "` + slotComment + `" ]; }
as_user() { # USER UID COMMAND...
  of=$1; number=$2; shift 2
  if command -v setpriv >/dev/null 2>&1; then setpriv --reuid "$number" --regid "$(id -g "$of")" --clear-groups "$@"
  else ` + sudoPath + ` -n -u "$of" "$@"; fi
}
killall_of() { as_user "$1" "$2" /bin/sh -c 'kill -KILL -1'; }
make() {
  shell=/bin/bash; if [ ! -x "$shell" ]; then shell=/bin/sh; fi
  if getent group "$1" >/dev/null; then groupdel "$1" || return 1; fi
  useradd --system --user-group --no-create-home --home-dir "$homes/$1" --shell "$shell" \
    --comment "` + slotComment + `" --password '*' "$1"
}
starters() { # USER UID
  loginctl disable-linger "$1" >/dev/null 2>&1
  loginctl terminate-user "$1" >/dev/null 2>&1
  rm -f "/var/lib/systemd/linger/$1"
  rm -f "/var/spool/cron/crontabs/$1" "/var/spool/cron/tabs/$1" "/var/spool/cron/$1" "/var/spool/incron/$1" "/var/spool/fcron/$1"
  for i in /var/spool/cron/atjobs /var/spool/cron/atspool /var/spool/atjobs /var/spool/atspool /var/spool/at; do
    if [ -d "$i" ]; then find "$i/" -xdev -type f -user "$2" -delete; fi
  done
}
mounted() { # UID HOME: where file systems are that are the user's or in the way; a blank is \040, a new line \012 (proc(5))
  awk -v u="$1" -v h="$2" 'index("," $4 ",", ",user_id=" u ",") || index($2 "/", h "/") == 1 ||
    index($2 "/", "/run/user/" u "/") == 1 { print $2 }' /proc/mounts | sort -r
}
# Folders that the user can write to, besides the known ones. Only root's, and not below such: nobody changes the way there.
writable() { # USER UID
  {
    echo '3 /'; for i in /home /mnt /opt /run /srv /usr/local /var; do echo "5 $i/"; done
    awk '$3 ~ /^(ext[234]|xfs|btrfs|zfs|f2fs|tmpfs|mqueue)$/ && $4 ~ /^rw/ && $2 != "/" && $2 !~ /\\/ { print "5 " $2 "/" }' /proc/mounts
  } | while read -r n i; do
    as_user "$1" "$2" find "$i" -xdev -maxdepth "$n" -type d \( ! -user 0 -prune -o -writable -print -prune \) 2>/dev/null </dev/null
  done | sort -u
}
holders() { # UID
  find -L /proc/[0-9]*/exe /proc/[0-9]*/fd/ -maxdepth 1 -type f -user "$1" \( -perm -4000 -o -perm -2000 \) 2>/dev/null |
  while IFS=/ read -r _ _ p _; do
    if [ "$(ps -o ruid= -p "$p" | tr -d ' ')" != 0 ]; then kill -KILL "$p" 2>/dev/null; fi
  done
  return 0
}
leftovers() { # USER UID HOME
  mounted "$2" "$3" | sed 's/%/%%/g' | while IFS= read -r i; do i=$(printf "${i}x"); umount -l "${i%x}"; done
  if [ -n "$(mounted "$2" "$3")" ]; then echo "$(mounted "$2" "$3" | head -n 1) stays mounted" >&2; return 1; fi
  rm -rf -- "/run/user/$2" "/var/mail/$1" "/var/spool/mail/$1" || return 1
  swept "$2" /tmp /var/tmp /dev/shm /dev/mqueue /run/lock /var/lock /var/crash || return 1
  writable "$1" "$2" | while IFS= read -r i; do swept "$2" "$i" || exit 1; done || return 1
  for i in shm:m msg:q sem:s; do
    awk -v u="$2" 'NR == 1 { for (n = 1; n <= NF; n++) if ($n == "uid" || $n == "cuid") c[n] }
NR > 1 { for (n in c) if ($n == u) { print $2; break } }' "/proc/sysvipc/${i%:*}" |
    while read -r id; do ipcrm "-${i#*:}" "$id" || exit 1; done || return 1
  done
}
`

// slotDarwin is the part of slotScript for macOS: dscl(1), launchctl(1), ipcs(1), chflags(1). The user's number comes
// last, before which it is nobody; it is in no group but its own. Where only some may use Remote Login,
// those are the members of com.apple.access_ssh. A file can be kept from being removed by its owner's flags.
const slotDarwin = `dscl=/usr/bin/dscl
exists() { $dscl . -read "/Users/$1" >/dev/null 2>&1; }
ours() { $dscl . -read "/Users/$1" RealName 2>/dev/null | tr '\n' ' ' | grep -q '^RealName: *` + slotComment + ` *$'; }
killall_of() { ` + sudoPath + ` -n -u "$1" /bin/sh -c 'kill -KILL -1'; }
make() {
  id=$({ $dscl . -list /Users UniqueID; $dscl . -list /Groups PrimaryGroupID; } |
    awk 'BEGIN { m = 600 } $2 > m && $2 < 1000000000 { m = $2 } END { print m + 1 }')
  $dscl . -create "/Groups/$1" PrimaryGroupID "$id" && $dscl . -create "/Groups/$1" Password '*' || return 1
  $dscl . -create "/Users/$1" RealName "` + slotComment + `" && $dscl . -create "/Users/$1" Password '*' || return 1
  $dscl . -create "/Users/$1" IsHidden 1 && $dscl . -create "/Users/$1" UserShell /bin/zsh || return 1
  $dscl . -create "/Users/$1" NFSHomeDirectory "$homes/$1" && $dscl . -create "/Users/$1" PrimaryGroupID "$id" || return 1
  $dscl . -create "/Users/$1" UniqueID "$id" || return 1
  if /usr/sbin/dseditgroup -o read com.apple.access_ssh >/dev/null 2>&1; then
    /usr/sbin/dseditgroup -o edit -a "$1" -t user com.apple.access_ssh || return 1
  fi
}
starters() { # USER UID
  /bin/launchctl bootout "user/$2" >/dev/null 2>&1
  /bin/launchctl bootout "gui/$2" >/dev/null 2>&1
  rm -f "/usr/lib/cron/tabs/$1" "/var/db/com.apple.xpc.launchd/disabled.$2.plist"
  if [ -d /usr/lib/cron/jobs ]; then find /usr/lib/cron/jobs/ -xdev -type f -user "$2" -delete; fi
}
holders() { :; } # nobody executes what he holds open
leftovers() { # USER UID HOME
  mount | sed -n "s/^.* on \(.*\) (.*mounted by $1[,)].*/\1/p" | while IFS= read -r i; do umount -f "$i" || exit 1; done || return 1
  rm -rf -- "/var/mail/$1" || return 1
  if [ -e "$3" ]; then /usr/bin/chflags -R nouchg,nouappnd "$3"; fi
  for i in /private/tmp /private/var/tmp /Users/Shared; do
    if [ -d "$i" ]; then find "$i/" -xdev -user "$2" -exec /usr/bin/chflags -h nouchg,nouappnd {} +; fi
  done
  swept "$2" /private/tmp /private/var/tmp /Users/Shared /Library/Caches || return 1
  if [ -d /private/var/folders ]; then
    find /private/var/folders/ -xdev -mindepth 2 -maxdepth 2 -user "$2" -exec rm -rf -- {} + || return 1
  fi
  for i in m q s; do
    /usr/bin/ipcs "-$i" | awk -v t="$i" -v u="$1" '$1 == t && $5 == u { print $2 }' |
    while read -r id; do /usr/bin/ipcrm "-$i" "$id" || exit 1; done || return 1
  done
}
`
