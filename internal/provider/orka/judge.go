package orka

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

// A scene is what is known of a VM that was asked for.
type scene struct {
	vm      orkaapi.VM
	waited  time.Duration // since the order
	pending time.Duration // since it was first seen Pending without a node
	running time.Duration // since it was first seen Running
	ended   bool          // the server waits for it no longer
	room    room
}

// A verdict says what becomes of a VM that was asked for.
type verdict int

const (
	wait        verdict = iota
	up                  // it runs and has an address
	full                // there is no room for it
	broken              // Orka gave it up
	late                // its time is over, and not for want of room
	addressless         // it runs, and Orka does not say where
)

// patient is how many times as long as CapacityWait a VM may wait for a node while the
// nodes seem to have room. With the defaults that is five minutes: Orka may not say which node a VM
// has while its image, new to the node, is fetched for four.
const patient = 10

// judge decides. A VM that has a node is being started, which takes minutes where its image
// is new to the node; one that has none waits for room.
func judge(s scene, reachable bool, c Config) verdict {
	over := s.waited >= c.DeployTimeout
	switch s.vm.Phase {
	case orkaapi.Failed:
		return broken
	case orkaapi.Running:
		if reachable {
			return up
		}
		if s.running >= c.BootTimeout {
			return addressless
		}
		return wait
	}
	unplaced := s.vm.Node == ""
	switch {
	case unplaced && s.pending >= c.CapacityWait && s.room.known && !s.room.some, unplaced && s.pending >= patient*c.CapacityWait:
		return full
	case (over || s.ended) && unplaced:
		return full
	case over || s.ended:
		return late
	}
	return wait
}

// A room is what the nodes have left for a VM.
type room struct {
	known bool
	some  bool
	words string // why there is none; the same words as long as it stays so
}

// defaultCPU is what a VM has if nobody says (Orka's documentation).
const defaultCPU = 3

// maxOnArm is how many VMs an Apple-silicon host runs at a time, whatever is free of it:
// Apple's licence says so, and Orka keeps to it (Orka's documentation).
const maxOnArm = 2

// A need is what a VM wants of a node.
type need struct {
	cpu       int
	node, tag string // "": any
	arm       bool
}

// roomFor looks whether any node has room for what is needed, beside the VMs that are there.
func roomFor(nodes []orkaapi.Node, vms []orkaapi.VM, namespace string, n need) room {
	cpu, node, tag := n.cpu, n.node, n.tag
	if cpu == 0 {
		cpu = defaultCPU
	}
	on := map[string]int{}
	for _, vm := range vms {
		on[vm.Node]++
	}
	r := room{known: true}
	fit := 0
	var away []string
	for _, host := range nodes {
		switch {
		case node != "" && host.Name != node, tag != "" && !slices.Contains(host.Tags, tag):
			continue
		case !host.Ready:
			away = append(away, host.Name)
			continue
		}
		fit++
		r.some = r.some || host.CPU >= cpu && (!n.arm || on[host.Name] < maxOnArm)
	}
	what := "nodes"
	if node != "" {
		what = "node " + node
	}
	if tag != "" {
		what += " with the tag " + tag
	}
	switch {
	case r.some:
	case len(nodes) == 0:
		r.words = fmt.Sprintf("namespace %s has no nodes", namespace)
	case fit == 0 && len(away) > 0:
		slices.Sort(away)
		r.words = fmt.Sprintf("no %s of namespace %s is ready: %s", what, namespace, strings.Join(away, ", "))
	case fit == 0:
		r.words = fmt.Sprintf("namespace %s has no %s", namespace, what)
	default:
		r.words = fmt.Sprintf("none of %d %s of namespace %s has room for a VM of %d CPUs", fit, what, namespace, cpu)
	}
	return r
}
