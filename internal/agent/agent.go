// Package agent is the program that runs on a machine: it lends the machine
// out, answers the sync, and supervises runs. It is small on purpose, since it
// runs on other people's machines: no SSH, no provider, no Kubernetes.
//
//	outrigger-agent serve      speaks internal/wire on its stdio: info, lease, link, sync
//	outrigger-agent connect    joins its stdio to the user's daemon, which it starts if there is none
//	outrigger-agent daemon     supervises runs, until idle
//	outrigger-agent status     starts the user's daemon if there is none, and says in which session it runs
//	outrigger-agent stop       ends the user's daemon, with its runs
//	outrigger-agent sweep      ends leases that expired and what dead daemons left
//	outrigger-agent version    says which build it is
package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"outrigger.dev/outrigger/internal/agent/daemon"
	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/lease"
	"outrigger.dev/outrigger/internal/agent/loginenv"
	"outrigger.dev/outrigger/internal/agent/proc"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/version"
)

const usage = `usage: outrigger-agent serve|connect|daemon|status|stop|sweep [--root FOLDER] [--idle DURATION]
       outrigger-agent version [--digest]
`

// Stdio is the process's streams.
type Stdio struct {
	In       io.ReadCloser
	Out, Err io.WriteCloser
}

// A command is one call of the program.
type command struct {
	verb   string
	root   disk.Root
	idle   time.Duration
	digest bool
	stdio  Stdio
	log    *slog.Logger
}

// Main is the program. It returns the exit code.
func Main(ctx context.Context, args []string, stdio Stdio) int {
	if len(args) > 0 && args[0] == proc.LimitsVerb { // what follows are another program's arguments
		err := proc.ExecLimited(args[1:])
		fmt.Fprintf(stdio.Err, "outrigger: %v\n", err)
		return fault.ExitCode(err)
	}
	c, err := parse(args, stdio)
	if err == nil {
		err = c.run(ctx)
	}
	if err != nil {
		fmt.Fprintf(stdio.Err, "outrigger-agent: %v\n", err)
		return fault.ExitCode(err)
	}
	return 0
}

func parse(args []string, stdio Stdio) (*command, error) {
	c := &command{stdio: stdio, log: slog.New(slog.NewTextHandler(stdio.Err, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	if len(args) == 0 {
		return nil, fault.New(fault.Usage, "no verb\n%s", usage)
	}
	c.verb = args[0]
	flags := flag.NewFlagSet(c.verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	root := flags.String("root", "", "the agent's folder")
	flags.DurationVar(&c.idle, "idle", 0, "how long the daemon waits for another run")
	flags.BoolVar(&c.digest, "digest", false, "print the SHA-256 of this program")
	if err := flags.Parse(args[1:]); err != nil {
		return nil, fault.New(fault.Usage, "%s: %w\n%s", c.verb, err, usage)
	}
	if flags.NArg() > 0 {
		return nil, fault.New(fault.Usage, "%s: unexpected %q\n%s", c.verb, flags.Arg(0), usage)
	}
	if c.verb == "version" || c.verb == daemon.EnvironVerb {
		return c, nil
	}
	abs, err := rootFolder(*root)
	c.root = disk.Root(abs)
	return c, err
}

// rootFolder makes the agent's folder; a relative one is below the user's home.
func rootFolder(root string) (string, error) {
	if root == "" {
		root = ".outrigger"
	}
	if !filepath.IsAbs(root) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fault.New(fault.AgentUnfit, "home folder: %w", err)
		}
		root = filepath.Join(home, root)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", disk.Fault("root folder", err)
	}
	// Paths that a run sees should be those that the system says, too.
	real, err := filepath.EvalSymlinks(root)
	return real, disk.Fault("root folder", err)
}

func (c *command) run(ctx context.Context) error {
	switch c.verb {
	case "serve":
		s := server{root: c.root, leases: lease.Open(c.root, c.log), log: c.log}
		return s.serve(ctx, c.stdio)
	case "connect":
		return c.connect(ctx)
	case "daemon":
		cfg, err := c.daemonConfig()
		if err != nil {
			return err
		}
		return daemon.Run(ctx, cfg)
	case "status":
		return c.status(ctx)
	case "stop":
		return c.stop(ctx)
	case "sweep":
		swept, err := lease.Open(c.root, c.log).Sweep(ctx)
		fmt.Fprintf(c.stdio.Out, "released %d leases, ended %d runs\n", len(swept.Leases), len(swept.Runs))
		for _, name := range swept.Broken {
			fmt.Fprintf(c.stdio.Out, "lease %s: its record cannot be read; it is removed a day after it was last used\n", name)
		}
		return err
	case "version":
		return c.version()
	case daemon.EnvironVerb:
		return loginenv.Dump(c.stdio.Out)
	}
	return fault.New(fault.Usage, "unknown verb %q\n%s", c.verb, usage)
}

func (c *command) version() error {
	if !c.digest {
		_, err := fmt.Fprintln(c.stdio.Out, "outrigger-agent", version.Version, version.Revision())
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fault.New(fault.AgentUnfit, "where am I: %w", err)
	}
	d, err := digest(self)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdio.Out, d)
	return err
}

func (c *command) daemonConfig() (daemon.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return daemon.Config{}, fault.New(fault.AgentUnfit, "where am I: %w", err)
	}
	// Delivered agents lie in a folder named after their digest.
	d := filepath.Base(filepath.Dir(self))
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(d) {
		if d, err = digest(self); err != nil {
			return daemon.Config{}, err
		}
	}
	return daemon.Config{Root: c.root, Digest: d, Self: self, Idle: c.idle, Log: c.log}, nil
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", disk.Fault("read myself", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", disk.Fault("read myself", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
