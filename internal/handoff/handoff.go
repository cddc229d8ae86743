// Package handoff is what is handed to the relay of a Pod: by the webhook, the
// [Plan] of each container, and by the controller, the [Claim] with which the
// machine is reached. The relay has no other source: it asks no API.
//
// Both are JSON. Fields may be added; a reader ignores what it does not know,
// and refuses another Version.
package handoff

import (
	"encoding/json"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// Version is that of both documents.
const Version = 1

// Where things are in a container that is relayed.
const (
	Dir          = "/outrigger"
	BinRelay     = "/outrigger/bin/relay" // in the relay's image
	BinShell     = "/outrigger/bin/shell" // the same program: a shell on the machine, for kubectl exec
	AgentsDir    = "/outrigger/agents"    // in the relay's image
	ClaimDir     = "/outrigger/claim"     // the Secret, read-only
	ClaimFile    = "/outrigger/claim/claim.json"
	StateDir     = "/outrigger/state" // an emptyDir that the Pod's relays share
	PlanVariable = "OUTRIGGER_PLAN"   // holds the container's Plan
	FromPrefix   = "OUTRIGGER_FROM_"  // before the names of variables of envFrom
	SecretKey    = "claim.json"       // of the Claim, in the Secret
	// ResultsLeft begins a line of a termination message, or is a result of Tekton's in it: results of the container are
	// on the machine and nowhere else. It is v1alpha1.ResultsLeft, which relays cannot import.
	ResultsLeft = "outrigger.dev/results-left"
	VolumeClaim = "outrigger-claim"
	VolumeState = "outrigger-state"
)

// A Claim says how to reach the machine that a Pod holds.
type Claim struct {
	Version  int              `json:"version"`
	Name     string           `json:"name"`  // the MachineClaim's "namespace/name", for messages
	Lease    string           `json:"lease"` // the lease's name on the machine, a machine.Name
	Owner    machine.Owner    `json:"owner"`
	Machine  machine.Name     `json:"machine"`
	Platform machine.Platform `json:"platform"`
	Endpoint machine.Endpoint `json:"endpoint"` // host keys pinned
	// Key is the lease's own private key, PEM in OpenSSH's format. It works
	// until the release.
	Key string `json:"key"`
	// Home is the digest of what the machine's home was like before anybody had it; none on hosts that
	// are not ours alone.
	Home []byte `json:"home,omitempty"`
}

// LoginSecret is the name of the Secret in the controller's namespace with which a machine of a
// pool is reached: a Claim, before anybody has claimed it.
func LoginSecret(machine string) string { return "machine-" + machine }

// LeaseName is the name of a claim's lease on its machine: another one for each claim
// that there ever was.
func LeaseName(claim, uid string) string {
	id := uid[:min(len(uid), 8)]
	name := claim[:min(len(claim), 63-1-len(id))]
	return strings.TrimRight(name, "-.") + "-" + id
}

// Reach returns the endpoint with the key in it.
func (c Claim) Reach() machine.Endpoint {
	ep := c.Endpoint
	key := machine.NewSecret(c.Key)
	ep.Auth = machine.Auth{Keys: []machine.Secret{key}}
	// The controller and the relay have this key, and nobody else: so both have the lease.
	ep.LeaseKey = machine.LeaseKey(key, string(c.Machine))
	return ep
}

// A Plan tells the relay of one container what to do.
type Plan struct {
	Version   int    `json:"version"`
	Container string `json:"container"`
	// Env names the variables that the container declares. Those of its envFrom, whose names
	// nobody knows beforehand, are in the relay's environment once more with FromPrefix before
	// their names, which tells them from what the relay's image, the container runtime and
	// the kubelet set.
	Env []string `json:"env,omitempty"`
	// AllEnv: nobody knows what is declared, so all variables go but those that look like somebody
	// else's. For containers that were not made for a relay.
	AllEnv bool `json:"allEnv,omitempty"`
	// WorkDir is where the command starts; "": the relay's own folder, if a
	// view holds it, else the lease's work folder.
	WorkDir string `json:"workDir,omitempty"`
	TTY     bool   `json:"tty,omitempty"`
	Stdin   bool   `json:"stdin,omitempty"`
	Views   []View `json:"views,omitempty"`
	// Same are mount paths whose files are those of a view's at another path.
	Same []Same `json:"same,omitempty"`
	// Ports are served by the command on the machine and answer in the Pod.
	Ports []Port `json:"ports,omitempty"`
	// Network is "cluster" or "".
	Network string `json:"network,omitempty"`
	// Forwards are ports of the machine's loopback that lead to the Pod's network.
	Forwards []Forward `json:"forwards,omitempty"`
	// TerminationLog is the path of the file whose content becomes the
	// container's termination message; "": none. Not used under Tekton, whose
	// entrypoint writes it.
	TerminationLog string `json:"terminationLog,omitempty"`
	// Tekton tells that Tekton's entrypoint executes the relay.
	Tekton bool `json:"tekton,omitempty"`
	// Grace is how long the command may take to end after a TERM.
	Grace time.Duration `json:"grace,omitempty"`
}

// A View is a set of mounts that the same containers of the Pod see, synced as
// one tree: paths below the container's root, and below the view's folder on
// the machine. Every mount path is made to appear on the machine as it is here.
type View struct {
	ID     string  `json:"id"` // the same in all containers that see it; a folder name
	Mounts []Mount `json:"mounts"`
	// Exclude holds gitignore patterns relative to the container's root.
	Exclude []string `json:"exclude,omitempty"`
	// Up: what changes on the machine is not brought back.
	Up bool `json:"up,omitempty"`
	// Live: the kubelet changes the files while the container runs (ConfigMaps,
	// Secrets, projected volumes): changes go up during the run.
	Live bool `json:"live,omitempty"`
}

// A Mount is one mount path of a view.
type Mount struct {
	Path   string `json:"path"`   // absolute, clean
	Volume string `json:"volume"` // the Pod's name for it
	// SubPath is set if the mount is of a part of the volume: then Path may be a file.
	SubPath bool `json:"subPath,omitempty"`
}

// A Same is a path in the container whose files are those at another path too, since both are
// mounts of one volume.
type Same struct {
	Path string `json:"path"` // absolute, clean
	To   string `json:"to"`   // absolute, clean, a mount of a view or inside of one
	// Expr: To refers to variables of the container, as subPathExpr does.
	Expr bool `json:"expr,omitempty"`
}

// A Port is a port of the container.
type Port struct {
	Port int    `json:"port"`
	Name string `json:"name,omitempty"`
}

// A Forward leads from a port of the machine's loopback to "host:port" as seen
// in the Pod.
type Forward struct {
	Port int    `json:"port"`
	To   string `json:"to"`
}

// ParseClaim reads a Claim.
func ParseClaim(data []byte) (Claim, error) {
	var c Claim
	if err := json.Unmarshal(data, &c); err != nil {
		return Claim{}, fault.New(fault.Config, "claim: %w", err)
	}
	return c, checkVersion("claim", c.Version)
}

// ParsePlan reads a Plan.
func ParsePlan(data []byte) (Plan, error) {
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return Plan{}, fault.New(fault.Config, "plan: %w", err)
	}
	return p, checkVersion("plan", p.Version)
}

func checkVersion(what string, got int) error {
	if got == Version {
		return nil
	}
	return fault.New(fault.Protocol, "%s: version %d, and this relay knows version %d", what, got, Version).
		WithRemedy("Give the controller and the relay's image the same version.")
}
