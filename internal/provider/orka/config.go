package orka

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// A Door is one of Orka's APIs.
type Door string

// The doors. The zero Door means [DoorAuto].
const (
	DoorAuto       Door = "auto"       // Kubernetes' if cluster-info names it and the token may look there
	DoorKubernetes Door = "kubernetes" // objects, labels and watches
	DoorREST       Door = "rest"
)

// An Identity says how sure we must be that a VM that answers is the one that was asked for.
type Identity string

// The degrees of sureness. The zero Identity means [IdentityAuto].
const (
	IdentityAuto    Identity = "auto"    // nothing speaks against it
	IdentityRequire Identity = "require" // its own metadata says so
)

// A Network says whose addresses VMs have.
type Network string

// The kinds of network. The zero Network means [NetworkAuto].
const (
	NetworkAuto   Network = "auto"   // as Orka describes each VM
	NetworkNAT    Network = "nat"    // the node's address and a mapped port
	NetworkBridge Network = "bridge" // the VM's own address, port 22 unless another is said
)

// Config is what a user may say about the provider. Only Endpoint and a token must be there.
type Config struct {
	Endpoint string `yaml:"endpoint"` // "http://10.221.188.20"
	// At most one of these; package config reads it into Token.
	TokenFile    string   `yaml:"tokenFile"`
	TokenEnv     string   `yaml:"tokenEnv"`
	TokenCommand []string `yaml:"tokenCommand"`

	CAFile    string `yaml:"caFile"`    // package config reads it into CA
	Namespace string `yaml:"namespace"` // "orka-default"
	Door      Door   `yaml:"door"`

	// How to log in the first time. MacStadium's images have admin with the password admin.
	User            string   `yaml:"user"`
	KeyFiles        []string `yaml:"keyFiles"`
	PasswordFile    string   `yaml:"passwordFile"`
	PasswordEnv     string   `yaml:"passwordEnv"`
	PasswordCommand []string `yaml:"passwordCommand"`

	// What a VM is. An empty field is not sent, so Orka's own default counts.
	Image          string            `yaml:"image"`    // of machines whose spec names none
	VMConfig       string            `yaml:"vmConfig"` // a template of Orka's, instead of an image
	Arch           string            `yaml:"arch"`     // of the VMs, shown to people: "arm64"
	CPUs           int               `yaml:"cpus"`
	MemoryMiB      int               `yaml:"memoryMiB"`
	Node           string            `yaml:"node"`
	Scheduler      string            `yaml:"scheduler"` // "default", "most-allocated"
	Tag            string            `yaml:"tag"`       // of nodes
	TagRequired    bool              `yaml:"tagRequired"`
	ReservedPorts  []string          `yaml:"reservedPorts"` // "NODE:VM", "NODE:VM/udp"
	NetBoost       *bool             `yaml:"netBoost"`
	LegacyIO       *bool             `yaml:"legacyIO"`
	GPUPassthrough *bool             `yaml:"gpuPassthrough"`
	VNCConsole     *bool             `yaml:"vncConsole"`
	ISO            string            `yaml:"iso"`
	SystemSerial   string            `yaml:"systemSerial"`
	DisplayWidth   int               `yaml:"displayWidth"`
	DisplayHeight  int               `yaml:"displayHeight"`
	DisplayDPI     int               `yaml:"displayDPI"`
	Metadata       map[string]string `yaml:"metadata"` // what the VM can ask for; not for secrets
	Labels         map[string]string `yaml:"labels"`   // of the objects, Kubernetes' door only

	// Addresses maps what Orka says to what is reached from here: address to address.
	Addresses map[string]string `yaml:"addresses"`
	Network   Network           `yaml:"network"`
	Identity  Identity          `yaml:"identity"`
	// FixedHostKey says that the image has a host key of its own, so that all VMs show the same.
	FixedHostKey bool `yaml:"fixedHostKey"`

	// DeployTimeout is from the order until a VM runs, 15m: an image that is new to a node
	// takes minutes. CapacityWait is how long a VM may wait for a node before we say that
	// there is no room, 30s. BootTimeout is from then until SSH answers, 5m.
	DeployTimeout time.Duration `yaml:"deployTimeout"`
	CapacityWait  time.Duration `yaml:"capacityWait"`
	BootTimeout   time.Duration `yaml:"bootTimeout"`

	// Fields are names on the wire that are not published: see orkaapi.Doubts.
	Fields map[string]string `yaml:"fields"`

	Token    machine.Secret                                          `yaml:"-"`
	Refresh  func(context.Context) (machine.Secret, error)           `yaml:"-"` // reads the token again; may be nil
	CA       string                                                  `yaml:"-"` // PEM
	Password machine.Secret                                          `yaml:"-"`
	Keys     []machine.Secret                                        `yaml:"-"` // PEM private keys
	Dial     func(context.Context, string, string) (net.Conn, error) `yaml:"-"` // to Orka and its VMs; nil: TCP
}

// The defaults. The image and the login are MacStadium's public ones.
const (
	defaultNamespace = "orka-default"
	defaultImage     = "ghcr.io/macstadium/orka-images/sequoia:latest"
	defaultLogin     = "admin"
)

// Defaults returns c with its zero fields filled in.
func (c Config) Defaults() Config {
	fill(&c.Namespace, defaultNamespace)
	fill(&c.Door, DoorAuto)
	if c.VMConfig == "" {
		fill(&c.Image, defaultImage)
	}
	fill(&c.Arch, "arm64")
	fill(&c.User, defaultLogin)
	if c.User == defaultLogin && c.Password.Empty() && len(c.Keys)+len(c.KeyFiles) == 0 {
		c.Password = machine.NewSecret(defaultLogin)
	}
	fill(&c.Network, NetworkAuto)
	fill(&c.Identity, IdentityAuto)
	fill(&c.DeployTimeout, 15*time.Minute)
	fill(&c.CapacityWait, 30*time.Second)
	fill(&c.BootTimeout, 5*time.Minute)
	return c
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

var (
	namespaceName = regexp.MustCompile(`^orka-[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	portMapping   = regexp.MustCompile(`^(\d{1,5}):(\d{1,5})(/(tcp|udp))?$`)
	serialNumber  = regexp.MustCompile(`^[A-Za-z0-9]{8,12}$`)
)

// Limits of Orka's own: names of its documentation, sizes of its object types.
const (
	maxNamespace = 63
	maxConfig    = 50
	maxTag       = 63
	maxScheduler = 32
	minMemoryMiB = 1024 // guess: no macOS starts with less
)

// Check tells what is wrong with c, as a fault of kind Config.
func (c Config) Check() error {
	if _, err := orkaapi.ParseEndpoint(c.Endpoint); err != nil {
		return err
	}
	c = c.Defaults()
	for _, wrong := range []string{
		unless(len(c.Namespace) <= maxNamespace && namespaceName.MatchString(c.Namespace), "namespace: %q: want orka-NAME, at most %d characters", c.Namespace, maxNamespace),
		oneOf("door", c.Door, DoorAuto, DoorKubernetes, DoorREST),
		oneOf("network", c.Network, NetworkAuto, NetworkNAT, NetworkBridge),
		oneOf("identity", c.Identity, IdentityAuto, IdentityRequire),
		oneOf("arch", c.Arch, "arm64", "amd64"),
		unless(c.VMConfig == "" || c.Image == "", "image %q and vmConfig %q: want one of them", c.Image, c.VMConfig),
		unless(len(c.VMConfig) <= maxConfig, "vmConfig: has %d characters, Orka allows %d", len(c.VMConfig), maxConfig),
		unless(c.CPUs >= 0, "cpus: %d is less than 0", c.CPUs),
		unless(c.MemoryMiB == 0 || c.MemoryMiB >= minMemoryMiB, "memoryMiB: %d is less than %d", c.MemoryMiB, minMemoryMiB),
		unless(len(c.Tag) <= maxTag, "tag: has %d characters, Orka allows %d", len(c.Tag), maxTag),
		unless(!c.TagRequired || c.Tag != "", "tagRequired: there is no tag"),
		unless(len(c.Scheduler) <= maxScheduler, "scheduler: has %d characters, Orka allows %d", len(c.Scheduler), maxScheduler),
		unless(c.SystemSerial == "" || serialNumber.MatchString(c.SystemSerial), "systemSerial: %q: want 8 to 12 letters and digits", c.SystemSerial),
		unless(!yes(c.GPUPassthrough) || !yes(c.VNCConsole), "gpuPassthrough and vncConsole exclude each other"),
		unless(c.DisplayWidth >= 0 && c.DisplayHeight >= 0 && c.DisplayDPI >= 0, "displayWidth, displayHeight, displayDPI: less than 0"),
		unless(c.DeployTimeout >= time.Minute, "deployTimeout: %s is shorter than a minute", c.DeployTimeout),
		c.checkPorts(), c.checkAddresses(), c.checkMetadata(), c.checkCA(),
		unless(orkaapi.Fields(c.Fields).Unknown() == "", "fields: %q is no name that is in doubt", orkaapi.Fields(c.Fields).Unknown()),
	} {
		if wrong != "" {
			return fault.New(fault.Config, "orka: %s", wrong)
		}
	}
	return nil
}

func unless(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func oneOf[T ~string](key string, value T, allowed ...T) string {
	var all []string
	for _, a := range allowed {
		if value == a {
			return ""
		}
		all = append(all, string(a))
	}
	return fmt.Sprintf("%s: %q is none of %s", key, value, strings.Join(all, ", "))
}

func yes(b *bool) bool { return b != nil && *b }

func (c Config) checkPorts() string {
	for _, p := range c.ReservedPorts {
		m := portMapping.FindStringSubmatch(p)
		if m == nil || !isPort(m[1]) || !isPort(m[2]) {
			return fmt.Sprintf("reservedPorts: %q: want NODEPORT:VMPORT, with /tcp or /udp if you like", p)
		}
	}
	return ""
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 65536
}

func (c Config) checkAddresses() string {
	for from, to := range c.Addresses {
		if _, err := netip.ParseAddr(from); err != nil {
			return fmt.Sprintf("addresses: %q is no address of a node", from)
		}
		if to == "" || strings.ContainsAny(to, "/ ") {
			return fmt.Sprintf("addresses: %s: %q is no address or name", from, to)
		}
	}
	return ""
}

// checkMetadata: Orka's own tool takes "k=v,k=v".
func (c Config) checkMetadata() string {
	for k, v := range c.Metadata {
		if k == "" || strings.ContainsAny(k+v, ",=") {
			return fmt.Sprintf("metadata: %q: Orka allows neither commas nor equals signs", k)
		}
	}
	return ""
}

func (c Config) checkCA() string {
	if c.CA == "" {
		return ""
	}
	block, _ := pem.Decode([]byte(c.CA))
	return unless(block != nil, "caFile: is no PEM certificate")
}
