//go:build unix

package tree

import "io/fs"

// modeOf returns the permission bits that a new entry is said to have.
func modeOf(fi fs.FileInfo) uint32 { return uint32(fi.Mode().Perm()) }

// modeNow returns the mode of an entry that was agreed to have mode and whose
// permission bits have changed to perm since.
func modeNow(_, perm uint32) uint32 { return perm }
