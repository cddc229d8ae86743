package doctor

import (
	"fmt"
	"strings"
	"time"
)

// Facts are what was seen of one subject: a provider's place or a machine. A pointer that
// is nil was not looked at.
type Facts struct {
	Subject  string
	Now      time.Time // by the clock of who looks
	Pod      bool      // looked at from inside a Pod
	KeptBack string    // why there are no secrets: token, logins; "": there are
	Provider string    // its configured name, or the pool's
	Pool     bool      // Provider is a pool
	Kind     Kind
	Target   Target

	Lookup   *Lookup
	Route    *Route
	Dial     *Dial
	TLS      *TLS
	API      *API
	Kube     *Kube
	Token    *Token
	Grants   []Grant
	Image    *Image
	Room     *Room
	Nodes    []Node
	Emulator *Emulator
	Disk     *Disk // of this computer

	HostKey *HostKey
	Login   *Login
	State   *MachineState
	Slots   *Slots
}

// A Target is what is connected to.
type Target struct {
	Scheme string // "http", "https" or "ssh"; "": there is none
	Host   string
	Port   int
	Via    string // the steps on the way, which find the name and connect; "": none
	Jumps  string // SSH hosts on the way; "": none
}

// Address is "host:port", "" for none.
func (t Target) Address() string {
	switch {
	case t.Host == "":
		return ""
	case strings.Contains(t.Host, ":"):
		return fmt.Sprintf("[%s]:%d", t.Host, t.Port)
	}
	return fmt.Sprintf("%s:%d", t.Host, t.Port)
}

// Behind names what is on the way, "" where there is nothing.
func (t Target) Behind() string {
	if t.Via != "" && t.Jumps != "" {
		return t.Via + ", " + t.Jumps
	}
	return t.Via + t.Jumps
}

// A Trouble is why something did not come about.
type Trouble struct {
	Reason Reason
	Text   string // in the words of who says so
}

// What can be in the way of a connection.
const (
	NoName      Reason = "NoName"      // nobody knows the name
	NameDown    Reason = "NameDown"    // no name server answers
	NoRoute     Reason = "NoRoute"     // this computer knows no way there
	Refused     Reason = "Refused"     // the address answers: nothing listens there
	Silent      Reason = "Silent"      // nobody answers
	Hung        Reason = "Hung"        // connected, then nothing is said
	Closed      Reason = "Closed"      // connected, then closed
	WayRefused  Reason = "WayRefused"  // a proxy, hub or jump host says no
	WayDown     Reason = "WayDown"     // a proxy, hub or jump host does not answer
	NotTLS      Reason = "NotTLS"      // what answers speaks no TLS
	Untrusted   Reason = "Untrusted"   // nobody vouches for the certificate
	OtherName   Reason = "OtherName"   // the certificate is for somebody else
	CertExpired Reason = "CertExpired" // the certificate has ended
	Other       Reason = "Other"       // something else
)

// A Lookup is what became of a name.
type Lookup struct {
	Literal bool // it is an address, not a name
	IPs     []string
	Trouble *Trouble
}

// A Route is which way packets would leave.
type Route struct {
	IP        string // to it
	Source    string // this computer's address on that way
	Interface string
	Trouble   *Trouble
}

// A Dial is a TCP connection.
type Dial struct {
	IP      string
	Took    time.Duration
	Limit   time.Duration
	Trouble *Trouble
}

// A TLS is a handshake and who was at the other end.
type TLS struct {
	Subject string
	Names   []string
	Issuer  string
	Ends    time.Time
	Trouble *Trouble
}

// An API is what answers at an Orka's address.
type API struct {
	Code    int    // of an answer that is a refusal; 0: none
	Legacy  string // the version of an Orka older than 3
	NotJSON bool
	Kube    string // where cluster-info says that the Kubernetes API is
	Skew    time.Duration
	Trouble *Trouble
}

// A Kube is the other API of an Orka.
type Kube struct {
	Door     string   // as configured: auto, kubernetes, rest
	Versions []string // of Orka's objects
	Listed   bool     // the token may look at VMs there
	IP       string   // that was tried, if the connection is what failed
	Code     int
	Trouble  *Trouble
}

// A Token is what is known of a token.
type Token struct {
	Missing  bool
	Subject  string
	Ends     time.Time // zero: it does not say
	Now      time.Time // by the clock of who judges it
	Accepted bool
	Code     int
	Trouble  *Trouble
}

// A Grant is whether the token may do one thing.
type Grant struct {
	Need    Need
	Asked   bool // somebody could say
	Allowed bool
	Text    string // in the words of who says so
}

// An Image is what machines are made from.
type Image struct {
	Name     string
	Config   bool // a template of the provider's, not an image
	Registry bool // of a registry, which nobody was asked
	Asked    bool // somebody could say
	There    bool
	State    string // in the provider's words
	Error    string
	Known    bool // whether nodes have it is known
	On       int  // so many nodes have it
	Nodes    int
	Trouble  *Trouble
}

// A Room is what is left for machines.
type Room struct {
	Known bool
	Some  bool
	Words string // why there is none
	Nodes int
	Ready int
	Fit   int // nodes that may have such a machine at all
	CPU   int // free on all nodes; of a host list, free slots
	Used  int // machines that exist
	Max   int // 0: no limit of ours
}

// A Node is a host of machines, and whether packets get there.
type Node struct {
	Name    string
	Address string
	Dial    Dial
}

// An Emulator is the program that makes virtual machines.
type Emulator struct {
	Path    string
	Version string
	Tools   []string // programs that are missing
	KVM     string   // "": usable; else why not
	Accel   string   // as configured
	Trouble *Trouble
}

// A Disk is where files are kept.
type Disk struct {
	Path    string
	Free    int64 // bytes
	Trouble *Trouble
}

// A HostKey is the key that a machine has shown, against those that are known.
type HostKey struct {
	Found   string // fingerprint and type
	Wanted  string // "": none is known
	Server  string
	Trouble *Trouble // KeyChanged, KeyUnknown, or what was in the way
	Fix     string   // what the machine's own package says helps
}

// A Login is what became of logging in.
type Login struct {
	User    string
	How     string // what was tried
	Took    time.Duration
	Trouble *Trouble
}

// A MachineState is what a machine says of itself.
type MachineState struct {
	OS      string // GOOS
	System  string // in its own words
	User    string
	Sudo    string // root, sudo, password, none
	Session string // ssh, aqua, background, console, service; "": unknown
	Console string // who is logged in at a Mac's screen
	Agent   bool   // Session is what our agent runs in
	Free    int64  // bytes where our files are; negative: unknown
	Skew    time.Duration
	Timed   bool // Skew is known
	Trouble *Trouble
}

// Slots are places of a host that exists already.
type Slots struct {
	Taken, Of int
	Own       int // of those taken, by the pool that is looked at
}

// ip is what was connected to, as far as it is known.
func (f Facts) ip() string {
	switch {
	case f.Dial != nil && f.Dial.IP != "":
		return f.Dial.IP
	case f.Route != nil && f.Route.IP != "":
		return f.Route.IP
	case f.Lookup != nil && len(f.Lookup.IPs) > 0:
		return f.Lookup.IPs[0]
	}
	return ""
}

// ips are the addresses that a check was about.
func (f Facts) ips(check string) []string {
	var all []string
	if check == "nodes" {
		for _, n := range f.Nodes {
			if t := n.Dial.Trouble; t != nil && t.Reason != Refused && n.Dial.IP != "" {
				all = append(all, n.Dial.IP)
			}
		}
		return all
	}
	if check == "kubernetes-api" {
		if f.Kube != nil && f.Kube.IP != "" {
			all = append(all, f.Kube.IP)
		}
		return all
	}
	if ip := f.ip(); ip != "" {
		all = append(all, ip)
	}
	return all
}

// words are what remedies may say of the facts.
func (f Facts) words() *strings.Replacer {
	where, on := "this computer", "--on "+f.Provider
	if f.Pod {
		where = "this Pod"
	}
	if f.Pool {
		on = "--pool " + f.Provider
	}
	image := ""
	if f.Image != nil {
		image = f.Image.Name
	}
	kube := ""
	if f.API != nil {
		kube = f.API.Kube
	}
	fix := ""
	if f.HostKey != nil {
		fix = f.HostKey.Fix
	}
	user := ""
	if f.Login != nil {
		user = f.Login.User
	}
	return strings.NewReplacer(
		"{here}", where, "{on}", on, "{provider}", f.Provider, "{host}", f.Target.Host, "{port}", fmt.Sprint(f.Target.Port),
		"{address}", f.Target.Address(), "{way}", f.Target.Behind(), "{image}", image, "{kube}", kube, "{fix}", fix, "{user}", user,
		"{settings}", f.settings(), "{login}", f.loginWhere(),
	)
}

// settings says where the reader changes what is configured.
func (f Facts) settings() string {
	if f.Pool {
		return "spec.provider of MachinePool " + f.Provider
	}
	return "provider " + f.Provider + " of the configuration"
}

// loginWhere says where the login is configured.
func (f Facts) loginWhere() string {
	if f.Pool {
		return "spec.login of MachinePool " + f.Provider + " and its Secret"
	}
	return "user, keyFiles and password of provider " + f.Provider
}
