package operator

import "slices"

// MaxOnArm is how many VMs an Apple silicon host may run: Apple's licence says so.
const MaxOnArm = 2

// A Demand is what a VM wants of a node.
type Demand struct {
	Namespace   string
	Arch        string
	CPUs        int
	MemoryGiB   float64
	Node        string // "" any
	Tag         string
	TagRequired bool
	Packed      bool // scheduler most-allocated
}

// A Host is a node and what is left of it.
type Host struct {
	Name      string
	Namespace string
	Arch      string
	Tags      []string
	Ready     bool
	FreeCPUs  int
	FreeGiB   float64
	VMs       int
}

// Place chooses the host for a VM, or tells why there is none now.
func Place(d Demand, hosts []Host) (host, why string) {
	why = "No nodes available in namespace"
	var fit []Host
	for _, h := range hosts {
		if h.Namespace != d.Namespace || !h.Ready || h.Arch != d.Arch || (d.Node != "" && d.Node != h.Name) {
			continue
		}
		switch {
		case d.TagRequired && !slices.Contains(h.Tags, d.Tag):
			why = "No nodes available with the required tag"
		case h.Arch == "arm64" && h.VMs >= MaxOnArm:
			why = "No nodes available: each runs as many VMs as it may"
		case h.FreeCPUs < d.CPUs:
			why = "Not enough CPU available"
		case h.FreeGiB < d.MemoryGiB:
			why = "Not enough memory available"
		default:
			fit = append(fit, h)
		}
	}
	if len(fit) == 0 {
		return "", why
	}
	best := slices.MinFunc(fit, func(a, b Host) int {
		if d.Tag != "" {
			if x, y := slices.Contains(a.Tags, d.Tag), slices.Contains(b.Tags, d.Tag); x != y {
				if x {
					return -1
				}
				return 1
			}
		}
		if d.Packed {
			return a.FreeCPUs - b.FreeCPUs // most of it allocated
		}
		return b.FreeCPUs - a.FreeCPUs
	})
	return best.Name, ""
}
