package orkav1

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Limits of names, as the CLI reference and the CRD types give them.
const (
	MaxVMName     = 63
	MaxConfigName = 50
	MaxImageName  = 63
	MaxTag        = 32 // the documentation says 63, the CRD's schema 32
	MinCPU        = 2  // the schema of VirtualMachineConfig
	DefaultCPU    = 3
)

// memoryPerCPU is how much a VM gets that asks for none: 4.80Gi for 3 cores in
// MacStadium's own example.
const memoryPerCPU = 1.6

var (
	dns1035   = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	imageName = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)
	mapping   = regexp.MustCompile(`^(\d{1,5}):(\d{1,5})(/tcp|/udp)?$`)
)

// VMName tells what is wrong with the name of a VM.
func VMName(name string) error { return label("VM name", name, MaxVMName) }

// ConfigName tells what is wrong with the name of a VM config.
func ConfigName(name string) error { return label("VM config name", name, MaxConfigName) }

func label(what, name string, most int) error {
	if !dns1035.MatchString(name) {
		return fmt.Errorf("%s must be a valid DNS-1035 label", what)
	}
	if len(name) > most {
		return fmt.Errorf("%s must be no more than %d characters", what, most)
	}
	return nil
}

// ImageName tells what is wrong with the name of an image.
func ImageName(name string) error {
	if !imageName.MatchString(name) || len(name) > MaxImageName {
		return fmt.Errorf("image name must consist of at most %d lower case alphanumeric characters, '-' or '.'", MaxImageName)
	}
	return nil
}

// NamespaceName tells what is wrong with the name of a namespace of Orka's.
func NamespaceName(name string) error {
	if !strings.HasPrefix(name, "orka-") {
		return fmt.Errorf("namespace name must start with 'orka-'")
	}
	return label("namespace name", name, MaxVMName)
}

// IsReference tells an OCI reference from the name of an image in the cluster.
func IsReference(image string) bool { return strings.Contains(image, "/") }

// Tagged is an image's name as registries and nodes know it: a reference without a tag means :latest.
func Tagged(image string) string {
	if !IsReference(image) || strings.ContainsAny(image[strings.LastIndex(image, "/"):], ":@") {
		return image
	}
	return image + ":latest"
}

// SizeOf reads a size as Kubernetes' Quantity does: "90G", "4.8Gi", a number of bytes. Go's clients send "0" for
// a size that nobody has set, which counts as none: set is false.
func SizeOf(size any) (set bool, err error) {
	if size == nil || size == "" {
		return false, nil
	}
	q, err := resource.ParseQuantity(fmt.Sprint(size))
	if err != nil || q.Sign() < 0 {
		return false, fmt.Errorf("size must be a quantity such as 90G, found %q", fmt.Sprint(size))
	}
	return !q.IsZero(), nil
}

// A Mapping joins a port of the node to one of the VM.
type Mapping struct {
	Node, VM int
	UDP      bool
}

// ParsePorts reads reservedPorts.
func ParsePorts(s string) ([]Mapping, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var all []Mapping
	for part := range strings.SplitSeq(s, ",") {
		m := mapping.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("reserved ports must be in the format <NODE_PORT>:<VM_PORT>, found %q", part)
		}
		node, _ := strconv.Atoi(m[1]) // digits, as the pattern says
		vm, _ := strconv.Atoi(m[2])
		if node < 1 || node > math.MaxUint16 || vm < 1 || vm > math.MaxUint16 {
			return nil, fmt.Errorf("reserved ports must be between 1 and %d, found %q", math.MaxUint16, part)
		}
		p := Mapping{Node: node, VM: vm, UDP: m[3] == "/udp"}
		if slices.ContainsFunc(all, func(q Mapping) bool { return q.Node == p.Node && q.UDP == p.UDP }) {
			return nil, fmt.Errorf("reserved node port %d is given twice", p.Node)
		}
		all = append(all, p)
	}
	return all, nil
}

// CheckVM tells what is wrong with a spec whose defaults are filled in.
func CheckVM(s VMSpec) error {
	switch {
	case s.Image == "":
		return fmt.Errorf("image is required")
	case s.CPU < MinCPU:
		return fmt.Errorf("cpu must be at least %d, found %d", MinCPU, s.CPU)
	case s.Memory != nil && *s.Memory < 0:
		return fmt.Errorf("memory must be a positive number of GiB, found %g", *s.Memory)
	case yes(s.GPUPassthrough) && yes(s.VNCConsole):
		return fmt.Errorf("gpuPassthrough and vncConsole cannot both be enabled")
	case s.Tag != nil && len(*s.Tag) > MaxTag:
		return fmt.Errorf("tag must be no more than %d characters", MaxTag)
	case yes(s.TagRequired) && (s.Tag == nil || *s.Tag == ""):
		return fmt.Errorf("tagRequired needs a tag")
	case s.Scheduler != nil && !slices.Contains([]string{"", SchedulerOne, SchedulerOther, "default-scheduler"}, *s.Scheduler):
		return fmt.Errorf("scheduler must be one of %s, %s, found %q", SchedulerOne, SchedulerOther, *s.Scheduler)
	case s.SystemSerial != nil && (len(*s.SystemSerial) < 8 || len(*s.SystemSerial) > 12):
		return fmt.Errorf("systemSerial must have 8 to 12 characters")
	}
	_, err := ParsePorts(s.ReservedPorts)
	return err
}

func yes(b *bool) bool { return b != nil && *b }

// MemoryGiB is what a VM gets: what it asks for in steps of 0.1, or what its cores imply.
func MemoryGiB(s VMSpec) float64 {
	m := float64(s.CPU) * memoryPerCPU
	if s.Memory != nil && *s.Memory > 0 {
		m = *s.Memory
	}
	return math.Round(m*10) / 10
}

// Gi writes memory as the status of a VM does: "4.80Gi".
func Gi(gib float64) string { return fmt.Sprintf("%.2fGi", gib) }

// G writes memory as a node does: "31.23G".
func G(gib float64) string { return fmt.Sprintf("%.2fG", gib) }
