// Package deliver puts the right agent in place on a machine.
//
// An agent lives at <root>/agents/<sha256>/outrigger-agent, so what is there
// under that name is what we would send, and two clients of different versions
// share a machine without knowing of each other. [Open] needs one exec to find
// the platform, see that the agent is there and become it; only a machine that
// lacks it costs more.
package deliver

import (
	"context"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/wire"
)

// A Source is a folder of built agents, "outrigger-agent-<os>-<arch>[.exe]",
// or several, of which the first that holds an agent wins.
type Source struct {
	dirs []string
}

// Dirs returns a Source over these folders.
func Dirs(dirs ...string) Source { return Source{dirs: dirs} }

// FindSource returns the agents that belong to this executable: in
// $OUTRIGGER_AGENTS if that is set, else in agents/ beside it, else in
// ../libexec/outrigger/agents.
func FindSource(getenv func(string) string) Source { return Source{} }

// An Agent is an agent in place on a machine.
type Agent struct {
	Path     string // on the machine
	Platform machine.Platform
	Digest   string // hex of SHA-256
	Root     string // the folder under which Outrigger keeps its files there
}

// Command returns the command line that runs the agent, quoted for the
// shell of the machine.
func (a Agent) Command(verb string, args ...string) string { return "" }

// Put finds out what the machine is and puts the agent in place if it is
// not there. root is [machine.Endpoint.Root]. Faults: AgentUnfit, DiskFull, LocalFile (no agent
// was built for that platform), and those of the connection.
func Put(ctx context.Context, c *reach.Client, src Source, root string) (Agent, error) {
	return Agent{}, fault.New(fault.Internal, "deliver: not there yet")
}

// Open starts the agent with verb ("serve", "connect") and returns the
// connection to it, putting the agent in place first if it is not there.
//
// greet is called as soon as something can be sent, before anything was
// received; what it sends (a hello, the first request) then costs no round trip of
// its own. It must not receive, and it is called a second time, on a new
// connection, when the agent had to be put in place. It may be nil.
func Open(ctx context.Context, c *reach.Client, src Source, root, verb string, greet func(*wire.Conn) error) (*wire.Conn, Agent, error) {
	return nil, Agent{}, fault.New(fault.Internal, "deliver: not there yet")
}
