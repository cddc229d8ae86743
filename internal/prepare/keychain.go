package prepare

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

func wantsKeychain(w Want) bool { return w.Keychain != nil }

// keychainFile is the keychain of one machine of ours: several can be one host.
func keychainFile(w Want) string {
	return `"$HOME/Library/Keychains/outrigger-` + string(w.Machine) + `.keychain-db"`
}

// lookKeychain tells whether the keychain is there, unlocked in the session that runs
// have (securityd keeps that apart for each session), searched, and how many identities
// to sign with it has. show-keychain-info ends with 36 where it would have to ask for
// the password.
func lookKeychain(w Want, _ Power) Script {
	return Script{As: AsConsole, Text: `k=` + keychainFile(w) + `
if [ -e "$k" ]; then echo there=yes; fi
/usr/bin/security show-keychain-info "$k" >/dev/null 2>&1; echo "unlocked=$?"
/usr/bin/security list-keychains -d user | grep -qF "\"$k\"" && echo searched=yes
/usr/bin/security find-identity "$k" 2>/dev/null | awk '/identities found/ && !n { n = 1; print "identities=" $1 }'`}
}

func judgeKeychain(w Want, s Seen) Verdict {
	if !s.Power.Root() {
		return give("NoRoot", "only root gets from an SSH session into the one at the screen, where the keychain has to be unlocked")
	}
	if !s.Done {
		return act("Absent", "the keychain is made anew for each claim")
	}
	n, err := strconv.Atoi(s.Values["identities"])
	switch {
	case s.Values["there"] != "yes":
		return act("Absent", "there is no keychain %s", "outrigger-"+string(w.Machine))
	case s.Values["unlocked"] != "0":
		return act("Locked", "the keychain is locked in the session at the screen")
	case s.Values["searched"] != "yes":
		return act("NotSearched", "the keychain is not in the user's search list")
	case err != nil || n < len(w.Keychain.Identities):
		return act("NoIdentity", "the keychain holds %q identities to sign with, want %d", s.Values["identities"], len(w.Keychain.Identities))
	}
	return fine("Unlocked", "%d identities to sign with", n)
}

// makeKeychain makes the keychain anew with the identities in it. security(1) reads its commands from
// standard input with -i, so that no password is on a command line. Its words for the rest:
// set-keychain-settings without options: never locked; import -T: who may use the key;
// set-key-partition-list: codesign does so without asking; list-keychains -s replaces the search list.
func makeKeychain(w Want, _ Seen) Script {
	var b strings.Builder
	b.WriteString(forget(w))
	fmt.Fprintf(&b, "p=%s\n", quote(w.Keychain.Password.Reveal()))
	b.WriteString(`d=$(mktemp -d "${TMPDIR:-/tmp}/outrigger.XXXXXX") || exit 1
trap 'rm -rf "$d"' EXIT
{
  printf 'create-keychain -p "%s" "%s"\n' "$p" "$k"
  printf 'set-keychain-settings "%s"\n' "$k"
  printf 'unlock-keychain -p "%s" "%s"\n' "$p" "$k"
} | /usr/bin/security -i || exit 1
`)
	for i, id := range w.Keychain.Identities {
		fmt.Fprintf(&b, "base64 --decode >\"$d/%d.p12\" <<'PKCS12' || exit 1\n%s\nPKCS12\n", i, base64.StdEncoding.EncodeToString(id.PKCS12))
		fmt.Fprintf(&b, "i=%s\n", quote(forSecurity(id.Password.Reveal())))
		fmt.Fprintf(&b, `printf 'import "%%s" -k "%%s" -f pkcs12 -P "%%s" -T /usr/bin/codesign -T /usr/bin/productbuild -T /usr/bin/security\n' "$d/%d.p12" "$k" "$i" | /usr/bin/security -i || { echo %s >&2; exit 1; }
`, i, quote("identity "+id.Name+" is not taken"))
	}
	b.WriteString(`printf 'set-key-partition-list -S apple-tool:,apple:,codesign: -s -k "%s" "%s"\n' "$p" "$k" | /usr/bin/security -i >/dev/null || exit 1
set -- "$k"
while IFS= read -r line; do
  line=${line#*\"}; line=${line%\"*}
  if [ -n "$line" ] && [ "$line" != "$k" ]; then set -- "$@" "$line"; fi
done <<LIST
$(/usr/bin/security list-keychains -d user)
LIST
/usr/bin/security list-keychains -d user -s "$@"
`)
	return Script{As: AsConsole, Text: b.String()}
}

// forget deletes the keychain, which also takes it off the search list, if it is there.
func forget(w Want) string {
	return "umask 077; k=" + keychainFile(w) + `
if [ -e "$k" ]; then /usr/bin/security delete-keychain "$k" || rm -f "$k" || exit 1; fi
`
}

// removeKeychain works from any session, and so also where nobody is logged in any more.
func removeKeychain(w Want, _ Power) Script { return Script{Text: forget(w)} }

// forSecurity escapes what stands between double quotes on a line that security -i reads: a
// backslash takes the next character as it is (split_line of Apple's security.c).
func forSecurity(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}
