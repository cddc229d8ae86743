//go:build unix

package tree

import "io/fs"

// modeOf returns the mode that a new entry is said to have.
func modeOf(fi fs.FileInfo) uint32 { return ModeBits(fi.Mode()) }

// modeNow returns the mode of an entry that was agreed to have mode and whose
// mode bits have changed to now since.
func modeNow(_, now uint32) uint32 { return now }
