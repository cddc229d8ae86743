package transfer

import (
	"context"
	"runtime"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/ignore"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// workers is how many goroutines read or write files. More than two hide the
// latency of a disk; more than eight have nothing left to hide.
func workers() int { return min(max(runtime.NumCPU(), 2), 8) }

// view is one side's tree during one operation.
type view struct {
	root  *tree.Folder
	store *baseline.Store
	base  baseline.Generation // the one in common; its ID is zero if there is none
	// last is what this side agreed on last, whether or not the other one knows
	// it. The scan is worded in terms of base, or of last if there is no base.
	last  baseline.Generation
	nodes []tree.Node
	// kept is the base with the stamps of this scan where they are known to
	// stand for the same content, and fresh tells whether that is worth keeping.
	kept  []tree.Node
	fresh bool
	times bool // the other side wants to know when what it hears of was changed
}

// scan looks at the whole tree, without reference to a base.
func scan(ctx context.Context, root *tree.Folder, m *ignore.Matcher, temp func(*tree.Folder, string) error) ([]tree.Node, error) {
	return tree.Scanner{Ignore: m, Temp: temp}.All(ctx, root)
}

// relate words a scan in terms of what was agreed on and reads the files that leave doubt.
func (v *view) relate(ctx context.Context, raw []tree.Node) error {
	agreed := v.base.Nodes
	if v.base.ID == (baseline.ID{}) {
		agreed = v.last.Nodes
	}
	var doubtful []int
	v.nodes, doubtful = tree.Against(agreed, raw)
	if err := tree.Sum(ctx, v.root, v.nodes, doubtful, workers()); err != nil {
		return err
	}
	for _, i := range doubtful {
		if v.nodes[i].Closed != "" || v.nodes[i].Gone {
			continue
		}
		if at, ok := tree.Find(agreed, v.nodes[i].Path); ok {
			tree.Settle(agreed[at], &v.nodes[i])
		}
	}
	v.dropGone()
	v.kept = append([]tree.Node(nil), v.base.Nodes...)
	i := 0
	for _, n := range v.nodes {
		for i < len(v.kept) && tree.Compare(v.kept[i].Path, n.Path) < 0 {
			i++
		}
		if n.Same && i < len(v.kept) && v.kept[i].Path == n.Path {
			v.fresh = v.fresh || n.Kind == tree.File && n.Stamp != v.kept[i].Stamp
			v.kept[i].Stamp = n.Stamp
		}
	}
	return nil
}

// dropGone forgets what turned out not to be there any more.
func (v *view) dropGone() {
	v.nodes = slices.DeleteFunc(v.nodes, func(n tree.Node) bool { return n.Gone })
}

// sum computes digests of nodes by path.
func (v *view) sum(ctx context.Context, paths []string) error {
	var places []int
	for _, path := range paths {
		if i, ok := tree.Find(v.nodes, path); ok && v.nodes[i].Kind == tree.File && !v.nodes[i].Digest.Known() {
			places = append(places, i)
		}
	}
	return tree.Sum(ctx, v.root, v.nodes, places, workers())
}

// once tells whether a node is as this side last agreed on.
func (v *view) once(n *tree.Node) bool {
	i, ok := tree.Find(v.last.Nodes, n.Path)
	return ok && sameButTime(n.Entry, v.last.Nodes[i].Entry)
}

// node returns what this side has at path.
func (v *view) node(path string) (*tree.Node, bool) {
	i, ok := tree.Find(v.nodes, path)
	if !ok {
		return nil, false
	}
	return &v.nodes[i], true
}

// refresh writes better stamps for the base in use.
func (v *view) refresh() error {
	if !v.fresh || v.base.ID == (baseline.ID{}) {
		return nil
	}
	return v.store.Refresh(baseline.Generation{ID: v.base.ID, Nodes: v.kept})
}

// commit makes the next generation.
func (v *view) commit(id baseline.ID, d *delta) (baseline.Generation, error) {
	g := baseline.Generation{ID: id, Nodes: baseline.Update(v.kept, d.set, d.forget)}
	return g, v.store.Commit(g, v.base.ID)
}

// delta is what an operation changes in the baseline.
type delta struct {
	set    map[string]tree.Node
	forget map[string]bool
}

func newDelta() *delta { return &delta{map[string]tree.Node{}, map[string]bool{}} }

// putList puts what is not as in the base, in walk order: the entries that
// differ and the paths that are gone. Without a base it puts all there is; those
// that are as agreed on at some time settle something. It returns the nodes that
// were put.
func (v *view) putList(to *pack.Lister) ([]int, error) {
	var listed []int
	common := v.base.ID != (baseline.ID{})
	base := v.base.Nodes
	closed := "" // the folder of which nobody knows what is in it
	gone := func() error {
		path := base[0].Path
		base = base[1:]
		if closed != "" && strings.HasPrefix(path, closed) {
			return nil
		}
		return to.Put(&pack.Record{Kind: pack.Forget, Path: path})
	}
	for i := range v.nodes {
		n := &v.nodes[i]
		for len(base) > 0 && tree.Compare(base[0].Path, n.Path) < 0 {
			if err := gone(); err != nil {
				return nil, err
			}
		}
		if len(base) > 0 && base[0].Path == n.Path {
			base = base[1:]
		}
		rec := pack.Record{Kind: pack.Have, Entry: n.Entry, Settles: !common && v.once(n)}
		if v.times {
			rec.When = n.Stamp.CTime
		}
		if n.Closed != "" {
			rec.Kind, rec.Why = pack.Closed, n.Closed
			if n.Kind == tree.Dir {
				closed = n.Path + "/"
			}
		}
		if n.Holds {
			if err := to.Put(&pack.Record{Kind: pack.Holds, Path: n.Path}); err != nil {
				return nil, err
			}
		}
		if n.Same && common {
			continue
		}
		listed = append(listed, i)
		if err := to.Put(&rec); err != nil {
			return nil, err
		}
	}
	for len(base) > 0 {
		if err := gone(); err != nil {
			return nil, err
		}
	}
	return listed, nil
}
