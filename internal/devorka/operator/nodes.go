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
	return ok && slices.ContainsFunc(store.Status[orkav1.NodeStatus](n).Images, func(i orkav1.NodeImage) bool {
		return i.Status == orkav1.CacheReady && has(i, image)
	})
}

func has(i orkav1.NodeImage, image string) bool {
	return slices.Contains(i.Names, orkav1.Tagged(image))
}

// maxCached is how many images a node keeps before the oldest go: a guess, in the
// place of a full disk.
const maxCached = 20

// imageBytes is imageSize in bytes.
const imageBytes = 90_000_000_000

// cache notes that the node has the image, fetches it, or could not and why.
func (o *Operator) cache(node, image, state, why string) error {
	n, ok := o.node(node)
	if !ok {
		return nil
	}
	_, err := o.cfg.Store.Update(store.Nodes, n.Namespace, n.Name, func(n *store.Object) error {
		st := store.Status[orkav1.NodeStatus](n)
		now := orkav1.NodeImage{Names: []string{orkav1.Tagged(image)}, Status: state, ErrorMessage: why}
		if state == orkav1.CacheReady {
			now.Size, now.SpaceUsed = imageBytes, imageBytes
		}
		if i := slices.IndexFunc(st.Images, func(i orkav1.NodeImage) bool { return has(i, image) }); i >= 0 {
			st.Images[i] = now
		} else {
			st.Images = append(st.Images, now)
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
			st.Images = slices.DeleteFunc(st.Images, func(i orkav1.NodeImage) bool { return image == "" || has(i, image) })
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
			if err := o.fetch(n.Name, image); err != nil {
				o.cfg.Log.Warn("image not cached", "image", image, "node", n.Name, "error", err)
			}
		})
	}
}

func (o *Operator) fetch(node, image string) error {
	if err := o.cache(node, image, orkav1.CacheCaching, ""); err != nil {
		return err
	}
	if wait(o.ctx, o.cfg.Times.Uncached) != nil {
		return nil // the cluster ends
	}
	if _, err := o.disk(image); err != nil {
		return o.cache(node, image, orkav1.CacheFailed, err.Error())
	}
	return o.cache(node, image, orkav1.CacheReady, "")
}
