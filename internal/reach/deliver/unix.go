package deliver

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/klauspost/compress/gzip"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach"
)

// unix is any machine with /bin/sh and uname.
//
// The scripts below stand in single quotes on a command line that the user's
// login shell reads, whichever that is; so they hold no single quote, no
// backslash (fish), no exclamation mark (csh) and no line break.
type unix struct {
	// sent tells that the agent has just been put in place on this connection.
	sent bool
}

// placed implements system.
func (unix) placed() system { return unix{sent: true} }

// rootScript sets r to the absolute root that $1 names.
const rootScript = `case "$1" in "") r=$HOME/.outrigger;; "~/"*) r=$HOME/${1#"~/"};; /*) r=$1;; *) r=$HOME/$1;; esac; `

// sumScript defines sum, which prints the SHA-256 of its input and more after a space, or nothing where there is
// no program for it. The system's programs come before those of the login's PATH.
const sumScript = `sum() { ( PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH; ` +
	`if command -v sha256sum >/dev/null 2>&1; then sha256sum; ` +
	`elif command -v shasum >/dev/null 2>&1; then shasum -a 256; ` +
	`elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r; fi ) }; `

// start implements system. One exec finds the platform, looks for its agent
// and becomes it; "used" tells how long an agent has not been needed. What lies at the agent's place is
// executed only if it is what we would send: whoever used this login before may have put it there. On a machine
// that has no program to tell, the agent is always sent, and what was just sent is executed.
func (u unix) start(builds []build, root, nonce, verb string) (string, error) {
	var cases strings.Builder
	for _, b := range builds {
		for _, s := range []string{"Linux x86_64", "Linux aarch64", "Linux arm64", "Darwin x86_64", "Darwin arm64"} {
			if p, _ := platformOf(s); p == b.platform {
				fmt.Fprintf(&cases, `"%s") d=%s;; `, s, b.digest)
			}
		}
	}
	script := rootScript + sumScript +
		`u=$(uname -sm); d=none; case "$u" in ` + cases.String() + `esac; a=$r/agents/$d; ` +
		`s=; if [ -f "$a/outrigger-agent" ] && [ -x "$a/outrigger-agent" ]; then s=$(sum <"$a/outrigger-agent"); fi; ` +
		`s=${s%% *}; if [ -z "$s" ] && [ -n "$3" ] && [ -x "$a/outrigger-agent" ]; then s=$d; fi; ` +
		`if [ "$s" = "$d" ]; then ` +
		`{ echo >"$a/used"; } 2>/dev/null; ` +
		`echo; echo "` + announceWord + ` ` + nonce + ` here - ;$u;$r"; ` +
		`if [ -n "$2" ]; then exec "$a/outrigger-agent" "$2" --root "$r"; fi; exit 0; fi; ` +
		`z=-; if command -v gzip >/dev/null 2>&1; then z=gzip; fi; ` +
		`echo; echo "` + announceWord + ` ` + nonce + ` absent $z ;$u;$r"`
	just := ""
	if u.sent {
		just = "sent"
	}
	return sh(script, root, verb, just), nil
}

// Exit codes of placeScript.
const (
	placeNoFolder = 81
	placeNoWrite  = 82
	placeFull     = 83
	placeGarbled  = 84
	placeNoRun    = 85
)

// placeScript receives the agent on stdin. $1 root, $2 digest, $3 name of a
// temporary folder, $4 "gzip" or "-", $5 kilobytes needed. The file is renamed
// into place, so two clients that do this at once both succeed. Then what
// others left goes: halves of pushes after a day, agents unused for 30 days.
const placeScript = rootScript + sumScript +
	`umask 077; g=$r/agents; t=$g/$3; d=$g/$2; f=$t/outrigger-agent; ` +
	`mkdir -p "$t" || exit 81; ` +
	`fail() { rm -rf "$t"; exit "$1"; }; ` +
	`trap "fail 82" HUP INT TERM; ` +
	`if [ "$4" = gzip ]; then gzip -dc >"$f"; else cat >"$f"; fi || { ` +
	`k=$(df -Pk "$g" | { read -r x; read -r x x x k x; echo "$k"; }); ` +
	`if [ "${k:-$5}" -lt "$5" ]; then fail 83; fi; fail 82; }; ` +
	`chmod 755 "$f" || fail 82; ` +
	`s=$(sum <"$f"); if [ -z "$s" ]; then s=$("$f" version --digest); fi; ` +
	`if [ "${s%% *}" != "$2" ]; then echo "digest is ${s%% *}" >&2; fail 84; fi; ` +
	`"$f" version >/dev/null || fail 85; ` +
	`if [ -d "$d" ] && [ -d "$d/outrigger-agent" ]; then rm -rf "$d"; fi; if [ -f "$d" ]; then rm -f "$d"; fi; ` +
	`mkdir -p "$d" && mv -f "$f" "$d/outrigger-agent" || fail 82; rmdir "$t"; { echo >"$d/used"; } 2>/dev/null; ` +
	`find "$g" -maxdepth 1 -name ".new-*" -mtime +1 -exec rm -rf {} + 2>/dev/null; ` +
	`for u in "$g"/*/used; do if [ -n "$(find "$u" -mtime +30 2>/dev/null)" ]; then rm -rf "${u%/used}"; fi; done; exit 0`

// place implements system.
func (unix) place(ctx context.Context, c *reach.Client, b build, a announce) error {
	send := b.plain
	if a.tools == "gzip" {
		send = b.zip
	}
	sent, size, err := send()
	if err != nil {
		return err
	}
	needed := fmt.Sprint(size/1024 + 1)
	var words bytes.Buffer
	exit, err := c.Shell(ctx, reach.ShellSpec{
		Command: sh(placeScript, a.root, b.digest, ".new-"+newNonce(), a.tools, needed),
		Stdin:   bytes.NewReader(sent),
		Stderr:  &words,
	})
	if err != nil {
		return err
	}
	said := strings.TrimSpace(start(words.Bytes()))
	switch exit {
	case 0:
		return nil
	case placeFull:
		return fault.New(fault.DiskFull, "%s: no room for the agent (%s KiB) in %s: %s", c.Where(), needed, a.root, said)
	case placeNoFolder, placeNoWrite:
		return fault.New(fault.AgentUnfit, "%s: the agent cannot be written to %s: %s", c.Where(), a.root, said).
			WithRemedy("Give the endpoint a root folder that its user may write to.")
	case placeGarbled:
		return fault.New(fault.AgentUnfit, "%s: the agent arrived garbled: %s, want %s", c.Where(), said, b.digest)
	case placeNoRun:
		return fault.New(fault.AgentUnfit, "%s: the machine (%s) cannot execute the agent for %s in %s: %s", c.Where(), a.system, b.platform, a.root, said).
			WithRemedy("If the folder's file system forbids programs (noexec), give the endpoint another root folder.")
	}
	return fault.New(fault.AgentUnfit, "%s: putting the agent in place ended with exit code %d: %s", c.Where(), exit, said)
}

// sh returns the command line that runs script with these arguments.
func sh(script string, args ...string) string {
	line := "exec /bin/sh -c " + quote(script) + " sh"
	for _, a := range args {
		line += " " + quote(a)
	}
	return line
}

func zip(content []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(content); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
