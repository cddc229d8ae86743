package tree

import "io/fs"

// modeOf makes up the bits that Windows does not have; only "read-only" is real.
func modeOf(fi fs.FileInfo) uint32 {
	if fi.IsDir() {
		return 0o755
	}
	return 0o644 &^ (^uint32(fi.Mode().Perm()) & 0o222)
}

// modeNow carries over what a change of "read-only" means to the agreed mode.
func modeNow(agreed, perm uint32) uint32 {
	if perm&0o200 == 0 {
		return agreed &^ 0o222
	}
	return agreed | 0o200
}
