package devorka

import (
	"log/slog"
	"time"

	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/operator"
)

// A Config describes a cluster. The zero Config is one host with machines that are
// folders, at full documented slowness.
type Config struct {
	Listen     string // of the REST door; "127.0.0.1:0"
	KubeListen string // of the Kubernetes door; the same host, any port

	Hosts         int     // Apple silicon nodes: 1; negative: none
	IntelHosts    int     // Intel nodes: 0
	HostCPUs      int     // cores of each: 8
	HostMemoryGiB float64 // memory of each: 32
	Images        []string
	Bridge        bool // VMs have addresses of their own

	// Addresses are those of the nodes, in order and again from the first. Empty
	// means one loopback address for each node where the system has more than one.
	Addresses []string
	// Names are further ones that the Kubernetes door's certificate is good for. The first is the apiDomain of
	// cluster-info, which is localhost without any.
	Names []string

	// Ahead is how far the cluster's clock is ahead of this computer's: of what it says of
	// tokens, objects and answers. Negative: behind.
	Ahead time.Duration

	// State keeps images, tokens and certificates between processes; "" keeps nothing.
	State string
	// Password is what local machines let admin in with; "": that of MacStadium's images.
	Password string
	// Machines makes the machines of the cluster below a folder; nil makes local ones.
	Machines func(dir string, log *slog.Logger) (machines.Place, error)

	Speed         float64         // how many times as fast as documented: 1
	Times         *operator.Times // instead of the documented ones; not affected by Speed
	DeployTimeout time.Duration   // of REST deploys that give none: 10 minutes
	Minute        time.Duration   // how long a minute of a deploy's own timeout lasts
	Doubts        operator.Doubts
	Seed          uint64 // of what happens by chance

	Log *slog.Logger
}

func (c Config) defaults() Config {
	set(&c.Listen, "127.0.0.1:0")
	set(&c.Hosts, 1)
	c.Hosts = max(c.Hosts, 0)
	set(&c.HostCPUs, 8)
	set(&c.HostMemoryGiB, 32)
	set(&c.Speed, 1)
	set(&c.DeployTimeout, 10*time.Minute)
	set(&c.Minute, time.Minute)
	c.Doubts = c.Doubts.Defaults()
	set(&c.Password, machines.Password)
	if c.Machines == nil {
		c.Machines = func(dir string, log *slog.Logger) (machines.Place, error) {
			return machines.NewLocal(dir, c.Password, log)
		}
	}
	if len(c.Images) == 0 {
		c.Images = []string{"sonoma-90gb-orka3-arm", "sequoia-90gb-orka3-arm"}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// now is the time by the cluster's clock.
func (c Config) now() time.Time { return time.Now().Add(c.Ahead) }

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
