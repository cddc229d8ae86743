package tree

import "slices"

// Against words a fresh scan in terms of the baseline: what is as it was
// becomes the baseline's entry. Both lists are in walk order. The second
// result lists the files whose stamps leave open whether their content
// changed; [Settle] decides them once their digests are known.
func Against(base, scan []Node) (nodes []Node, doubtful []int) {
	nodes = make([]Node, 0, len(scan))
	i := 0
	keepAbsent := func() {
		if base[i].Stamp.Absent {
			n := base[i]
			n.Same = true
			nodes = append(nodes, n)
		}
		i++
	}
	for _, n := range scan {
		for i < len(base) && Compare(base[i].Path, n.Path) < 0 {
			keepAbsent()
		}
		if i < len(base) && base[i].Path == n.Path {
			var doubt bool
			n, doubt = against(base[i], n)
			i++
			if doubt {
				doubtful = append(doubtful, len(nodes))
			}
		}
		nodes = append(nodes, n)
	}
	for i < len(base) {
		keepAbsent()
	}
	return nodes, doubtful
}

func against(base, n Node) (_ Node, doubt bool) {
	if n.Closed != "" {
		if n.Kind != File || base.Kind != File || !n.Stamp.Unchanged(base.Stamp) {
			return n, false
		}
		n.Closed = "" // it is what it was when it could be read
	}
	if n.Kind != base.Kind || base.Stamp.Absent {
		return n, false
	}
	n.Mode = agreedMode(base, n)
	switch n.Kind {
	case File:
		if n.Stamp.Unchanged(base.Stamp) {
			n.Entry, n.Same = base.Entry, true
			return n, false
		}
		if n.Stamp.MTime == base.Stamp.MTime {
			n.MTime = base.MTime
		}
		return n, n.Size == base.Size
	case Dir:
		if n.Stamp.MTime == base.Stamp.MTime {
			n.MTime = base.MTime
		}
		n.Same = n.Entry == base.Entry
	case Link:
		n.Same = n.Entry == base.Entry
	}
	return n, false
}

func agreedMode(base, n Node) uint32 {
	switch {
	case n.Kind == Link:
		return 0
	case n.Stamp.Mode == base.Stamp.Mode:
		return base.Mode
	}
	return modeNow(base.Mode, n.Stamp.Mode)
}

// Settle compares a doubtful node, whose digest is known by now, with the
// baseline's node of the same path.
func Settle(base Node, n *Node) {
	n.Same = n.Entry == base.Entry
}

// Find returns the node at path in a list in walk order.
func Find(nodes []Node, path string) (int, bool) {
	return slices.BinarySearchFunc(nodes, path, func(n Node, path string) int { return Compare(n.Path, path) })
}
