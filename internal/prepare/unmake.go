package prepare

import (
	"context"
	"fmt"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
)

// Unmake makes a machine, before an image is made of it, one that was never prepared: the agent ends and goes with its
// folder, and each step takes back what must not be in an image. What is left of the preparation, such as power settings
// or links of the root folder, the next one finds and accepts. own is how the machine is entered since
// it was prepared; afterwards it is entered as it was the first time. What the machine has not written to its disk yet it writes.
// An image's recipe has run as the login, so the password is not sent, as after a claim.
func Unmake(ctx context.Context, v Visit, own machine.Endpoint) error {
	v.Want.Tenants = true
	return v.with(ctx, own, func(c *reach.Client) error {
		sh := Over(c)
		r := runner{sh: sh, want: v.Want}
		out, _, err := r.script(ctx, removeAgents(v.Want))
		if err == nil && out.Exit != 0 {
			err = fault.New(fault.RemoteFile, "exit code %d: %s", out.Exit, words(out))
		}
		if err != nil {
			return fmt.Errorf("the agent's folder: take it back: %w", err)
		}
		if err := Strip(ctx, sh, Plan(v.Want.OS), v.Want); err != nil {
			return err
		}
		out, _, err = r.script(ctx, flush(v.Want))
		if err == nil && out.Exit != 0 {
			err = fault.New(fault.RemoteFile, "sync: exit code %d: %s", out.Exit, words(out))
		}
		return err
	})
}

// Reopen takes back before an image's recipe runs what takes root, so that the login's password need not be sent
// afterwards: the machine lets passwords in again. [Unmake] takes back the rest.
func Reopen(ctx context.Context, v Visit, own machine.Endpoint) error {
	return v.with(ctx, own, func(c *reach.Client) error {
		return takeBack(ctx, Over(c), Plan(v.Want.OS), v.Want, func(s Step) func(Want, Power) Script { return s.Strip })
	})
}

// ownFolders are what is below the agent's folder, which somebody may have given to it.
const ownFolders = "agents daemon leases at awake.plist"

// removeAgents ends the agents of all builds and removes what they keep, as far as it is there.
func removeAgents(w Want) Script {
	if w.OS == "windows" {
		return Script{Text: fmt.Sprintf(`$r = %s
Get-ChildItem "$r\agents\*\outrigger-agent.exe" -ErrorAction SilentlyContinue | ForEach-Object { & $_.FullName stop --root $r }
'%s'.Split(' ') | Where-Object { Test-Path "$r\$_" } | ForEach-Object { Remove-Item -Recurse -Force "$r\$_" }
if ((Test-Path $r) -and -not (Get-ChildItem -Force $r)) { Remove-Item $r }
`, quotePS(w.AgentRoot), ownFolders)}
	}
	return Script{Text: fmt.Sprintf(`r=%s
for a in "$r"/agents/*/outrigger-agent; do if [ -x "$a" ]; then "$a" stop --root "$r" || exit 1; fi; done
for n in %s; do if [ -e "$r/$n" ]; then chmod -R u+w "$r/$n" && rm -rf "$r/$n" || exit 1; fi; done
if [ -d "$r" ]; then rmdir "$r" 2>/dev/null || :; fi`, quote(w.AgentRoot), ownFolders)}
}

func flush(w Want) Script {
	if w.OS == "windows" {
		return Script{Text: "Write-VolumeCache -DriveLetter $env:SystemDrive[0]\n"}
	}
	return Script{Text: "sync"}
}
