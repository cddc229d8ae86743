//go:build unix

package apply

import "outrigger.dev/outrigger/internal/worksync/tree"

func rename(at *tree.Folder, from, to string) error { return at.Rename(from, to) }
