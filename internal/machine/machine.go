// Package machine holds the nouns that every other package speaks of: a
// machine, its name, its platform, its owner and the way to reach it.
//
// It decides nothing and does nothing. Providers make machines, package reach
// dials them, and all of them agree here on what the words mean.
package machine

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// A Name identifies a machine at its provider. It is chosen and stored by us
// before the machine is made, so that a create whose answer was lost can be
// found again. It is a DNS label (RFC 1123): it may become a host name.
type Name string

// maxName is the longest DNS label, RFC 1123 section 2.1.
const maxName = 63

var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// ParseName checks s against the rules of [Name].
func ParseName(s string) (Name, error) {
	if len(s) > maxName || !namePattern.MatchString(s) {
		return "", fmt.Errorf("machine name %q: want at most %d of a-z, 0-9 and \"-\", starting and ending with a letter or digit", s, maxName)
	}
	return Name(s), nil
}

// NewName returns a fresh name "prefix-xxxxxxxx" with 40 random bits.
func NewName(prefix string) Name {
	var b [5]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it crashes the program instead
	return suffixed(prefix, b)
}

// NameFor returns a name of the same form that is always the same for these parts.
func NameFor(prefix string, parts ...string) Name {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return suffixed(prefix, [5]byte(sum[:5]))
}

func suffixed(prefix string, b [5]byte) Name {
	return Name(prefix + "-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])))
}

// A Platform is an operating system and an architecture, in Go's words
// (GOOS and GOARCH): darwin/arm64, windows/amd64, linux/amd64.
type Platform struct {
	OS   string `json:"os" cbor:"1,keyasint"`
	Arch string `json:"arch" cbor:"2,keyasint"`
}

// String returns "os/arch".
func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Platforms are those that have an agent.
var Platforms = []Platform{
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"linux", "amd64"}, {"linux", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
}

// An Owner says which installation of Outrigger a machine belongs to. Every
// machine carries it at its provider, so that a sweep touches only its own.
type Owner string

// A State is what a provider knows of a machine. The zero State is invalid.
type State string

// The states of a machine at its provider.
const (
	Creating State = "Creating" // asked for, not running yet
	Running  State = "Running"  // its processor runs; SSH may not answer yet
	Stopped  State = "Stopped"  // exists, does not run
	Deleting State = "Deleting" // on its way out
	Failed   State = "Failed"   // the provider gave it up
)

// A Spec asks a provider for a machine.
type Spec struct {
	Name      Name
	Owner     Owner
	Image     string            // the provider's word for a base image; "" is the provider's default
	CPUs      int               // 0: the provider's default
	MemoryMiB int               // 0: the provider's default
	Expires   time.Time         // when anybody may delete it; zero: never
	Labels    map[string]string // shown to people; never used to decide
}

// A Machine is one machine as its provider describes it.
type Machine struct {
	Name     Name              `json:"name"`
	Provider string            `json:"provider"` // the provider's configured name, not its type
	Owner    Owner             `json:"owner"`
	State    State             `json:"state"`
	Image    string            `json:"image,omitempty"`
	Platform Platform          `json:"platform"` // as far as the provider knows; the agent's word counts
	Created  time.Time         `json:"created"`
	Expires  time.Time         `json:"expires,omitzero"`
	Labels   map[string]string `json:"labels,omitempty"`
	Endpoint Endpoint          `json:"endpoint"`
}

// An Endpoint says how to reach a machine by SSH.
type Endpoint struct {
	Host string `json:"host"` // name or address, no port
	Port int    `json:"port"` // 0 means 22
	User string `json:"user"`
	// HostKeys are the pinned host keys in authorized_keys format ("ssh-ed25519 AAAA…").
	// Empty means that nothing is pinned here and KnownHosts decides.
	HostKeys []string `json:"hostKeys,omitempty"`
	// KnownHosts names known_hosts files to check when HostKeys is empty.
	KnownHosts []string `json:"knownHosts,omitempty"`
	// KnownAs is the host's name in KnownHosts; "" means Host, with Port if that is not 22.
	KnownAs string `json:"knownAs,omitempty"`
	Auth    Auth   `json:"-"`
	// Root is the folder under which Outrigger keeps its files on the machine;
	// "" means ~/.outrigger of User.
	Root string `json:"root,omitempty"`
	// Jumps are passed in order, each reached through the one before.
	Jumps []Endpoint `json:"jumps,omitempty"`
	// Via are steps below SSH that are passed in order before the first host is
	// dialled. They hold secrets, so only package handoff writes them down.
	Via []Via `json:"-"`
	// LeaseKey is the secret by which the agent there knows whose leases are whose; none: they are anybody's.
	LeaseKey Secret `json:"-"`
}

// A Via is a proxy or a tunnel through which connections are made: URL or
// WireGuard is set.
type Via struct {
	// URL is "socks5://HOST:PORT", "http://HOST:PORT" or "https://HOST:PORT", a proxy
	// of that kind. Names behind it are resolved by it.
	URL      string
	User     string
	Password Secret
	// CA holds the PEM certificates that vouch for an https proxy; "": the system's.
	CA string
	// WireGuard is a configuration as wg-quick(8) reads it. It can only be the first step.
	WireGuard Secret
	// Name is what messages call it; "": its URL.
	Name string
}

// String names the step for messages.
func (v Via) String() string {
	switch {
	case v.Name != "":
		return v.Name
	case v.URL != "":
		return v.URL
	}
	return "WireGuard"
}

// Address returns "host:port" fit for net.Dial.
func (e Endpoint) Address() string {
	port := e.Port
	if port == 0 {
		port = 22
	}
	host := e.Host
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// Auth lists the ways to log in that a client may try, in this order: Keys,
// KeyFiles, Agent, Password.
type Auth struct {
	Keys      []Secret // PEM private keys held in memory
	KeyFiles  []string // private key files; "FILE-cert.pub" beside one is its certificate
	CertFiles []string // further OpenSSH certificates
	Agent     bool     // ask the agent at SSH_AUTH_SOCK
	Password  Secret
}

// A Secret is text that must not be printed. Only Reveal shows it.
type Secret struct{ s string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{s} }

// Reveal returns the text itself, for the one place that needs it.
func (s Secret) Reveal() string { return s.s }

// Empty tells whether there is nothing in it.
func (s Secret) Empty() bool { return s.s == "" }

// String hides the text.
func (s Secret) String() string { return "(hidden)" }

// GoString hides the text from %#v.
func (s Secret) GoString() string { return "machine.Secret(hidden)" }

// MarshalText hides the text from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte("(hidden)"), nil }
