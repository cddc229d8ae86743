package orka

import (
	"slices"

	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// A Room is what nodes have left for machines of a configuration.
type Room struct {
	Some  bool
	Words string // why there is none
	Fit   int    // nodes that are ready and may have such a machine
}

// RoomFor looks whether any node has room for one more machine as c describes it, beside
// the VMs that are there. It asks nobody.
func RoomFor(nodes []orkaapi.Node, vms []orkaapi.VM, c Config) Room {
	c = c.Defaults()
	n := need{cpu: c.CPUs, node: c.Node, arm: c.Arch == "arm64"}
	if c.TagRequired {
		n.tag = c.Tag
	}
	r := roomFor(nodes, vms, c.Namespace, n)
	out := Room{Some: r.some, Words: r.words}
	for _, host := range nodes {
		if host.Ready && (n.node == "" || host.Name == n.node) && (n.tag == "" || slices.Contains(host.Tags, n.tag)) {
			out.Fit++
		}
	}
	return out
}
