package orkaapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Text is text that may come as a number.
type Text string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = Text(s)
		return nil
	}
	if len(b) > 0 && (b[0] == '{' || b[0] == 'n') {
		*t = ""
		return nil
	}
	*t = Text(b)
	return nil
}

// Int is a whole number that may come as text, or as nothing.
type Int int

// UnmarshalJSON implements [json.Unmarshaler]. What is no number is 0, as if it was not there.
func (i *Int) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(b), `"`), 64)
	if err != nil || f < -1<<40 || f > 1<<40 {
		*i = 0
		return nil //nolint:nilerr // "N/A", null
	}
	*i = Int(f)
	return nil
}

// Phase is what Orka says of a VM. A stopped or suspended Intel VM is still Running.
type Phase string

// The phases of a VM.
const (
	Pending Phase = "Pending"
	Running Phase = "Running"
	Failed  Phase = "Failed"
)

// A VM is a virtual machine, the same through both doors.
type VM struct {
	Name        string
	UID         string // of the object, Kubernetes' door only
	Version     string // of the object, Kubernetes' door only
	Phase       Phase
	Node        string
	Host        string // the address to dial: the node's, or the VM's own in bridge mode
	Bridged     bool   // Host is certainly the VM's own address
	SSH         int    // port; 0: none was said
	Image       string
	CPU         int
	Created     time.Time
	Deleting    bool
	Error       string // Orka's words for why it failed
	Warnings    string // of ports that could not be mapped
	Labels      map[string]string
	Annotations map[string]string
}

// A Node is a host that VMs run on.
type Node struct {
	Name    string
	Address string
	CPU     int // free
	Ready   bool
	Tags    []string
}

// An Image is one in Orka's own storage.
type Image struct {
	Name        string
	Description string
	Arch        string // amd64, arm64 or ""
	State       string // Ready, Updating, Failed or ""
	Error       string
	Created     time.Time
	Bytes       int64
}

// Info is what cluster-info says.
type Info struct {
	APIDomain   string `json:"apiDomain"`
	APIEndpoint string `json:"apiEndpoint"` // of the Kubernetes API
	CertData    string `json:"certData"`    // its certificate authority, PEM
}

// A Deploy asks for a VM. Zero fields are not sent.
type Deploy struct {
	Name          string
	Image         string
	VMConfig      string // a template
	CPU           int
	MemoryGB      float64
	Node          string
	Scheduler     string
	Tag           string
	TagRequired   bool
	ReservedPorts string
	NetBoost      *bool
	LegacyIO      *bool
	GPU           *bool
	VNCConsole    *bool
	ISO           string
	SystemSerial  string
	DisplayWidth  int
	DisplayHeight int
	DisplayDPI    int
	Metadata      map[string]string

	Labels      map[string]string // Kubernetes' door only
	Annotations map[string]string // Kubernetes' door only
	Minutes     int               // that the server waits, REST only
}

// parseTime reads a time of either door; what is none is the zero time.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
