package arch

import (
	"strings"

	"outrigger.dev/outrigger/internal/machine"
)

// A Wall says what a package must never see.
type Wall struct {
	Package string   // without the module; "x/..." is x and all below it
	Deep    bool     // also not through others: it is about what a binary links
	Never   []string // import paths, "..." as above
	Why     string
}

// Seen returns what p sees of what it must not.
func (w Wall) Seen(p Package) []string {
	look := p.Imports
	if w.Deep {
		look = p.Deps
	}
	var seen []string
	for _, path := range look {
		for _, never := range w.Never {
			if Match(never, path) {
				seen = append(seen, path)
			}
		}
	}
	return seen
}

// Match tells whether pattern stands for path.
func Match(pattern, path string) bool {
	prefix, family := strings.CutSuffix(pattern, "/...")
	return path == prefix || family && strings.HasPrefix(path, prefix+"/")
}

// Walls are the tree's.
var Walls = []Wall{
	{
		Package: "cmd/agent", Deep: true,
		Never: []string{
			"k8s.io/...", "sigs.k8s.io/...", "golang.org/x/crypto/ssh/...", "github.com/pkg/sftp/...", "github.com/gliderlabs/...",
			"github.com/spf13/...", "github.com/goccy/...", "net/http/...",
			Module + "/internal/provider/...", Module + "/internal/reach/...", Module + "/internal/config/...", Module + "/internal/cli/...", Module + "/internal/ledger",
		},
		Why: "the agent runs on other people's machines: it stays small enough to be read by their security team",
	},
	{
		Package: "internal/worksync/...",
		Never:   []string{"net", "golang.org/x/crypto/ssh/...", "k8s.io/..."},
		Why:     "a sync is given its connection, so that it can be proved without one",
	},
	{
		Package: "internal/relay", Deep: true,
		Never: []string{"k8s.io/...", "sigs.k8s.io/...", Module + "/internal/cli/...", Module + "/internal/config/..."},
		Why:   "the same sequence serves a laptop and a Pod, and belongs to neither",
	},
	{
		Package: "cmd/relay", Deep: true,
		Never: []string{
			"k8s.io/...", "sigs.k8s.io/...", "github.com/spf13/...", "github.com/goccy/...", "net/http/...",
			Module + "/internal/provider/...", Module + "/internal/config/...", Module + "/internal/ledger", Module + "/api/...",
		},
		Why: "the relay starts in every container, and all it knows was handed to it: it needs no API and no token",
	},
	{
		Package: "internal/provider/...",
		Never:   []string{Module + "/internal/cli/...", Module + "/internal/config", Module + "/internal/relay", "k8s.io/..."},
		Why:     "a provider knows its place and nothing of who asks",
	},
	{Package: "internal/worksync/plan", Never: deciders, Why: decides},
	{Package: "internal/pool", Never: deciders, Why: decides},
	{Package: "internal/admit", Never: deciders, Why: decides},
	{Package: "internal/doctor", Never: deciders, Why: decides},
	{Package: "internal/doctor/...", Never: []string{"k8s.io/...", Module + "/internal/cli/..."}, Why: "a doctor looks at a provider and its machines: who knows of a cluster hands it what it needs"},
}

// Deciders answer from what they are given; they get time as an argument.
const decides = "a decider takes a snapshot and answers: it looks at nothing and waits for nothing"

var deciders = []string{"os", "net", "os/exec", "io/fs", "context", "log/slog"}

// Clockless packages are deciders too: they must not call time.Now.
var Clockless = []string{"internal/worksync/plan", "internal/pool", "internal/doctor"}

// AllSystems are platforms that stand for the systems: what is linked depends on
// the system, hardly on the architecture.
var AllSystems = []machine.Platform{{OS: "darwin", Arch: "arm64"}, {OS: "linux", Arch: "amd64"}, {OS: "windows", Arch: "amd64"}}
