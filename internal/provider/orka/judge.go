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

// judge decides. A VM that has a node is being started, which takes minutes where its image
// is new to the node; one that has none waits for room, unless the nodes show some:
// then perhaps nobody has told us its node.
func judge(s scene, reachable bool, c Config) verdict {
	over := s.waited >= c.DeployTimeout
	switch s.vm.Phase {
	case orkaapi.Failed:
		return broken
	case orkaapi.Running:
		if reachable {
			return up
		}
		if over {
			return addressless
		}
		return wait
	}
	unplaced := s.vm.Node == ""
	switch {
	case unplaced && s.pending >= c.CapacityWait && s.room.known && !s.room.some:
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

// roomFor looks whether any node has room for what is asked for.
func roomFor(nodes []orkaapi.Node, namespace string, cpu int, node, tag string) room {
	if cpu == 0 {
		cpu = defaultCPU
	}
	r := room{known: true}
	fit := 0
	var away []string
	for _, n := range nodes {
		switch {
		case node != "" && n.Name != node, tag != "" && !slices.Contains(n.Tags, tag):
			continue
		case !n.Ready:
			away = append(away, n.Name)
			continue
		}
		fit++
		r.some = r.some || n.CPU >= cpu
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
		r.words = fmt.Sprintf("none of %d %s of namespace %s has %d free CPUs", fit, what, namespace, cpu)
	}
	return r
}
