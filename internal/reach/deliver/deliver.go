// Package deliver puts the right agent in place on a machine and starts it.
//
// An agent lives at <root>/agents/<sha256>/outrigger-agent, so two clients of
// different versions share a machine without knowing of each other. [Open] needs
// one exec to find the platform, see that the agent is there and become it; only a
// machine that lacks the agent costs more.
//
// On Unix the agent's content is compared with its digest each time, in the exec that
// becomes it: what an earlier user of the login left in its place is replaced. A process of the same
// user that is there at that moment can still change the file, or the shell that compares
// it; against that only another user helps. On Windows the name alone counts.
//
// Nothing but a shell is needed on Unix: the agent goes through cat or gzip.
// Windows gets it through SFTP, since its two possible shells agree on little.
package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/wire"
)

// An Agent is an agent in place on a machine.
type Agent struct {
	Path     string // on the machine; on Windows it may be relative to the user's home
	Platform machine.Platform
	Digest   string // hex of SHA-256
	Root     string // the folder under which Outrigger keeps its files there
}

// Command returns the command line that runs the agent, quoted for the shell
// of the machine.
func (a Agent) Command(verb string, args ...string) string {
	all := append([]string{a.Path, verb, "--root", a.Root}, args...)
	if a.Platform.OS == "windows" {
		return strings.Join(all, " ") // see windowsRoot for why nothing needs quotes
	}
	for i, s := range all {
		all[i] = quote(s)
	}
	return strings.Join(all, " ")
}

// quote quotes s for any Unix shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Put puts the agent in place on the machine if it is not there. root is
// [machine.Endpoint.Root]. Faults: AgentUnfit, DiskFull, LocalFile (no agent was
// built for that platform), and those of the connection.
func Put(ctx context.Context, c *reach.Client, src Source, root string) (Agent, error) {
	_, a, err := open(ctx, c, src, root, "", nil)
	return a, err
}

// Open starts the agent with verb ("serve", "connect") and returns the
// connection to it, putting the agent in place first if it is not there.
//
// greet is called as soon as something can be sent, before anything was
// received; what it sends (a hello, the first request) then costs no round
// trip of its own. It must not receive, and it is called again on a new
// connection when the agent had to be put in place first. It may be nil.
func Open(ctx context.Context, c *reach.Client, src Source, root, verb string, greet func(*wire.Conn) error) (*wire.Conn, Agent, error) {
	return open(ctx, c, src, root, verb, greet)
}

// A system is what the two kinds of machine do differently.
type system interface {
	// start returns the command that becomes the agent, or says that it is
	// absent, after a line that announce recognizes. An empty verb: only say.
	start(builds []build, root, nonce, verb string) (string, error)
	// place puts b at a's path.
	place(ctx context.Context, c *reach.Client, b build, a announce) error
	// placed is the system once place has succeeded on this connection.
	placed() system
}

func open(ctx context.Context, c *reach.Client, src Source, root, verb string, greet func(*wire.Conn) error) (*wire.Conn, Agent, error) {
	builds, err := src.builds()
	if err != nil {
		return nil, Agent{}, err
	}
	// Windows says so in its first words; every other server has a shell that is one.
	first, second := system(unix{}), system(windows{})
	if strings.Contains(c.ServerVersion(), "Windows") {
		first, second = second, first
	}
	conn, a, err := openOn(ctx, c, first, builds, root, verb, greet)
	if !errors.Is(err, errNoShell) {
		return conn, a, err
	}
	conn, a, otherErr := openOn(ctx, c, second, builds, root, verb, greet)
	if errors.Is(otherErr, errNoShell) {
		return nil, Agent{}, err
	}
	return conn, a, otherErr
}

// errNoShell means that the other side did not do what such a shell does.
var errNoShell = errors.New("neither a Unix shell nor the command processor of Windows answers")

func openOn(ctx context.Context, c *reach.Client, sys system, builds []build, root, verb string, greet func(*wire.Conn) error) (*wire.Conn, Agent, error) {
	for placed := false; ; placed = true {
		conn, said, err := attempt(ctx, c, sys, builds, root, verb, greet)
		if err != nil {
			return nil, Agent{}, err
		}
		b, err := pick(builds, said)
		if err != nil {
			return nil, Agent{}, fmt.Errorf("%s: %w", c.Where(), err)
		}
		if said.here {
			return conn, Agent{Path: said.path(b), Platform: b.platform, Digest: b.digest, Root: said.root}, nil
		}
		if placed {
			return nil, Agent{}, fault.New(fault.AgentUnfit, "%s: the agent was put at %s, but the machine does not take it for a program", c.Where(), said.path(b))
		}
		if err := sys.place(ctx, c, b, said); err != nil {
			return nil, Agent{}, err
		}
		sys = sys.placed()
	}
}

// attempt starts the agent if it is there; else it only finds out what the machine is.
func attempt(ctx context.Context, c *reach.Client, sys system, builds []build, root, verb string, greet func(*wire.Conn) error) (*wire.Conn, announce, error) {
	nonce := newNonce()
	command, err := sys.start(builds, root, nonce, verb)
	if err != nil {
		return nil, announce{}, err
	}
	s, err := c.Stream(ctx, command)
	if err != nil {
		return nil, announce{}, err
	}
	o := newOpening(s)
	conn := wire.NewConn(o)
	if greet != nil && verb != "" {
		if err := greet(conn); err != nil && !errors.Is(err, io.EOF) {
			s.Close()
			return nil, announce{}, err
		} // at EOF the command is over already, and what it said tells why
	}
	said, err := o.await(ctx, nonce, verb != "")
	if err != nil {
		s.Close()
		return nil, announce{}, unfit(c.Where(), err)
	}
	if !said.here || verb == "" {
		s.Close()
		conn = nil
	}
	return conn, said, nil
}

// pick chooses the build for the machine that said this.
func pick(builds []build, said announce) (build, error) {
	p, ok := platformOf(said.system)
	if !ok {
		return build{}, fault.New(fault.AgentUnfit, "no agent runs on %q, want one of %v", said.system, machine.Platforms)
	}
	for _, b := range builds {
		if b.platform == p {
			return b, nil
		}
	}
	return build{}, fault.New(fault.LocalFile, "no agent for %s among those built: %s", p, names(builds)).
		WithRemedy("Build the agents with: make build")
}

// unfit makes the fault of a machine on which the agent did not start.
func unfit(where string, err error) error {
	var exit *reach.ExitError
	switch {
	case errors.Is(err, errNoAnswer):
		return fault.New(fault.Unreachable, "%s: %w", where, err).
			WithRemedy("Log in there with ssh, and see what the login's start-up files or its disk wait for.")
	case errors.Is(err, errNoShell), errors.Is(err, errNoise):
		return fault.New(fault.AgentUnfit, "%s: the agent does not start: %w", where, err).
			WithRemedy("Use a login that runs the command it is given: one with nologin, for SFTP alone or with a ForceCommand does not.")
	case errors.As(err, &exit):
		return fault.New(fault.AgentUnfit, "%s: the agent does not start: %w", where, err)
	case fault.Of(err) != fault.Internal:
		return err
	}
	return fault.New(fault.Unreachable, "%s: %w", where, err)
}
