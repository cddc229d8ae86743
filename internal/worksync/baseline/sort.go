package baseline

import (
	"slices"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

func sortNodes(nodes []tree.Node) {
	slices.SortFunc(nodes, func(a, b tree.Node) int { return tree.Compare(a.Path, b.Path) })
}
