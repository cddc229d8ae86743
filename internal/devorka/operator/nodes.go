package operator

import (
	"slices"
	"strconv"
	"strings"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

func (o *Operator) node(name string) (*store.Object, bool) {
	nodes, _ := o.cfg.Store.List(store.Nodes, "")
	i := slices.IndexFunc(nodes, func(n *store.Object) bool { return n.Name == name })
	if i < 0 {
		return nil, false
	}
	return nodes[i], true
}

func (o *Operator) nodeIP(name string) string {
	n, ok := o.node(name)
	if !ok {
		return ""
	}
	return store.Status[orkav1.NodeStatus](n).NodeIP
}

func gibOf(s string) float64 {
	f, _ := strconv.ParseFloat(strings.TrimSuffix(s, "G"), 64) // we wrote it
	return f
}

// showNodes writes what is left of each node into its status.
func (o *Operator) showNodes(hosts []Host) {
	for _, h := range hosts {
		n, ok := o.node(h.Name)
		if !ok {
			continue
		}
		_, err := o.cfg.Store.Update(store.Nodes, n.Namespace, n.Name, func(n *store.Object) error {
			st := store.Status[orkav1.NodeStatus](n)
			st.AvailableCPU, st.AvailableMemory = h.FreeCPUs, orkav1.G(max(0, h.FreeGiB))
			return nil
		})
		if err != nil {
			o.cfg.Log.Debug("node status not written", "node", h.Name, "error", err)
		}
	}
}

// cached tells whether the node has the image.
func (o *Operator) cached(node, image string) bool {
	n, ok := o.node(node)
	return ok && slices.Contains(store.Status[orkav1.NodeStatus](n).Images, image)
}

// maxCached is how many images a node keeps before the oldest go: a guess, in the
// place of a full disk.
const maxCached = 20

// cache notes that the node has the image.
func (o *Operator) cache(node, image string) error {
	n, ok := o.node(node)
	if !ok {
		return nil
	}
	_, err := o.cfg.Store.Update(store.Nodes, n.Namespace, n.Name, func(n *store.Object) error {
		st := store.Status[orkav1.NodeStatus](n)
		if !slices.Contains(st.Images, image) {
			st.Images = append(st.Images, image)
		}
		if over := len(st.Images) - maxCached; over > 0 {
			st.Images = st.Images[over:]
		}
		return nil
	})
	return err
}

// Uncache makes nodes forget an image, all images for "".
func (o *Operator) Uncache(image string, nodes func(*store.Object) bool) error {
	all, _ := o.cfg.Store.List(store.Nodes, "")
	for _, n := range all {
		if !nodes(n) {
			continue
		}
		_, err := o.cfg.Store.Update(store.Nodes, n.Namespace, n.Name, func(n *store.Object) error {
			st := store.Status[orkav1.NodeStatus](n)
			st.Images = slices.DeleteFunc(st.Images, func(i string) bool { return image == "" || i == image })
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Cache has nodes fetch an image beforehand. It returns at once.
func (o *Operator) Cache(image string, nodes func(*store.Object) bool) {
	all, _ := o.cfg.Store.List(store.Nodes, "")
	for _, n := range all {
		if !nodes(n) || o.cached(n.Name, image) {
			continue
		}
		o.run(func() {
			if wait(o.ctx, o.cfg.Times.Uncached) != nil {
				return
			}
			if err := o.cache(n.Name, image); err != nil {
				o.cfg.Log.Warn("image not cached", "image", image, "node", n.Name, "error", err)
			}
		})
	}
}
