package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/session"
	"outrigger.dev/outrigger/internal/fault"
)

// launchctlLimit bounds one call of launchctl; it answers in milliseconds unless
// the session is just being made or torn down.
const launchctlLimit = 10 * time.Second

// errNoLaunchd means that this is not macOS.
var errNoLaunchd = errors.New("no launchd")

// launch lets launchd start the daemon in the session of the user who is logged
// in at the screen, so that runs have a window server. What sshd starts has
// none, and no way to get there but through launchd. It fails where there is
// no launchd, and where the user is not logged in.
//
// Nothing is installed: the agent is known to launchd until that session ends,
// and its file lies in the daemon's folder.
func (c Config) launch(ctx context.Context, dir string) error {
	if _, err := os.Stat(session.Launchctl); err != nil {
		return errNoLaunchd
	}
	domain := fmt.Sprintf("gui/%d", os.Getuid())
	label := label(dir)
	// Known to launchd already: then only the process has ended, idle.
	if launchctl(ctx, "kickstart", domain+"/"+label) == nil {
		return nil
	}
	plist := filepath.Join(dir, "agent.plist")
	if err := os.WriteFile(plist, c.plist(dir, label), 0o600); err != nil {
		return disk.Fault("launch agent", err)
	}
	return launchctl(ctx, "bootstrap", domain, plist)
}

// label names the launch agent: one for each folder of a daemon.
func label(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "dev.outrigger.agent." + hex.EncodeToString(sum[:8])
}

func launchctl(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, launchctlLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, session.Launchctl, args...).CombinedOutput()
	if err != nil {
		return fault.New(fault.AgentUnfit, "launchctl %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

// plist describes the agent, see launchd.plist(5). ProcessType Interactive keeps launchd from
// slowing the runs down as it does with what it takes for background work.
// There is no KeepAlive: the daemon ends when it is idle, and whoever needs it
// starts it.
func (c Config) plist(dir, label string) []byte {
	var b strings.Builder
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
`)
	text := func(s string) string {
		var e bytes.Buffer
		_ = xml.EscapeText(&e, []byte(s)) // a bytes.Buffer takes everything
		return "<string>" + e.String() + "</string>\n"
	}
	b.WriteString("<key>Label</key>\n" + text(label))
	b.WriteString("<key>ProgramArguments</key>\n<array>\n")
	for _, arg := range c.argv() {
		b.WriteString(text(arg))
	}
	b.WriteString("</array>\n<key>WorkingDirectory</key>\n" + text(dir))
	b.WriteString("<key>StandardOutPath</key>\n" + text(logName(dir)))
	b.WriteString("<key>StandardErrorPath</key>\n" + text(logName(dir)))
	b.WriteString("<key>ProcessType</key>\n<string>Interactive</string>\n<key>RunAtLoad</key>\n<true/>\n</dict>\n</plist>\n")
	return []byte(b.String())
}
