// Package podrelay is the relay of one container of a Pod: it runs the
// container's command on the machine that the Pod holds, with the container's
// volumes, environment, streams, signals and exit code.
//
// What it knows it was handed (package handoff): the Plan of its container by
// the webhook, the Claim by the controller. It asks no API. The sequence itself is
// package relay's; here is what makes a Pod of its job: which paths are
// synced and where they appear, what of the environment goes along, what a
// container that was restarted does, and which lines the logs get (none,
// when all is well).
package podrelay

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/version"
)

const (
	rootVariable  = "OUTRIGGER_ROOT"  // where the container's root is; for tests
	debugVariable = "OUTRIGGER_DEBUG" // not empty: tell what is done and when, on stderr
	// absenceVariable is how long the command goes on while the connection is
	// lost, as Go writes durations.
	absenceVariable = "OUTRIGGER_ABSENCE"
)

// A Container is where the relay is.
type Container struct {
	IO    *term.IO
	Dir   string // the working folder
	Start time.Time
}

// Main is the program: "relay run -- CMD ARG...", "relay shell [CMD ARG...]",
// "relay version". Invoked as "shell" it is "relay shell". It returns the exit code.
func Main(ctx context.Context, argv []string, c Container) int {
	boundMemory()
	name, args := "", argv
	if len(argv) > 0 {
		name, args = filepath.Base(argv[0]), argv[1:]
	}
	if name != "shell" {
		if len(args) == 0 {
			return c.fail(usage("no command"))
		}
		name, args = args[0], args[1:]
	}
	var code int
	var err error
	switch name {
	case "run":
		if len(args) > 0 && args[0] == "--" {
			args = args[1:]
		}
		if len(args) == 0 || args[0] == "" {
			return c.fail(usage("run: nothing to run"))
		}
		code, err = c.run(ctx, args)
	case "shell":
		if len(args) > 0 && args[0] == "--" {
			args = args[1:]
		}
		code, err = c.shell(ctx, args)
	case "version":
		fmt.Fprintln(c.IO.Out, "outrigger relay", version.Version)
		return 0
	default:
		return c.fail(usage("no command %q", name))
	}
	if err != nil {
		return c.fail(err)
	}
	return code
}

func usage(format string, args ...any) error {
	return fault.New(fault.Usage, "relay: "+format, args...).
		WithRemedy("Use: relay run -- CMD [ARG...], relay shell [CMD ARG...], or relay version.")
}

// maxSaid bounds what is said at once, in bytes. The log is no place for a list of all files.
const maxSaid = 16 << 10

// say writes lines that are not the command's. Much of what they are made of comes from
// the machine.
func (c Container) say(text string) {
	text = sanitize.Text(text, maxSaid)
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		_, _ = io.WriteString(c.IO.Err, "outrigger: "+line) // nobody is left to be told that it failed
	}
}

// fail tells of a fault and returns its exit code.
func (c Container) fail(err error) int {
	text := err.Error()
	if f := asFault(err); f != nil && f.Detail != "" {
		text += "\n" + f.Detail
	}
	if r := remedy(err); r != "" && !fault.Is(err, fault.Interrupted) {
		text += "\n" + r
	}
	c.say(text)
	return fault.ExitCode(err)
}

// path returns where an absolute path of the container is for this process.
func (c Container) path(p string) string { return filepath.Join(c.root(), p) }

func (c Container) root() string {
	if r := c.IO.Getenv(rootVariable); r != "" {
		return r
	}
	return "/"
}

// workDir is this process's working folder, as the container sees it.
func (c Container) workDir() string {
	rel, err := filepath.Rel(c.root(), c.Dir)
	if err != nil || !filepath.IsLocal(rel) {
		return "/"
	}
	return filepath.Join("/", rel)
}

// log is silent unless the Pod asks for more.
func (c Container) log() *slog.Logger {
	if c.IO.Getenv(debugVariable) == "" {
		return slog.New(slog.DiscardHandler)
	}
	h := slog.NewTextHandler(c.IO.Err, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Duration("at", time.Since(c.Start).Round(100*time.Microsecond))
			}
			return a
		},
	})
	return slog.New(h)
}

// handed reads what the relay was handed.
func (c Container) handed() (handoff.Plan, handoff.Claim, error) {
	plan, err := handoff.ParsePlan([]byte(c.IO.Getenv(handoff.PlanVariable)))
	if err != nil {
		return plan, handoff.Claim{}, err
	}
	data, err := os.ReadFile(c.path(handoff.ClaimFile))
	if err != nil {
		return plan, handoff.Claim{}, fault.New(fault.Config, "claim: %w", err).
			WithRemedy("The Secret of the Pod's claim is to be mounted at %s; is the controller running?", handoff.ClaimDir)
	}
	claim, err := handoff.ParseClaim(data)
	return plan, claim, err
}

// dial connects to the machine.
func (c Container) dial(ctx context.Context, claim handoff.Claim, log *slog.Logger) (*host.Host, error) {
	return host.Dial(ctx, host.Config{
		Endpoint: claim.Reach(), Agents: deliver.Dirs(c.path(handoff.AgentsDir)),
		Reach: reach.Options{Log: log}, Boot: dialLimit, Log: log,
	})
}

// dialLimit is how long a machine that was well when the Pod got it may take to answer.
const dialLimit = 2 * time.Minute
