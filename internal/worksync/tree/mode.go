package tree

import "io/fs"

// The bits of a mode above 0777, as Unix has them.
const (
	SetUID = 0o4000
	SetGID = 0o2000
	Sticky = 0o1000
)

var special = []struct {
	bit  uint32
	mode fs.FileMode
}{{SetUID, fs.ModeSetuid}, {SetGID, fs.ModeSetgid}, {Sticky, fs.ModeSticky}}

// ModeBits returns the permission, setuid, setgid and sticky bits of a mode as
// Unix has them, which is how an entry has them.
func ModeBits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for _, s := range special {
		if m&s.mode != 0 {
			bits |= s.bit
		}
	}
	return bits
}

// FileMode returns such bits as the os package wants them.
func FileMode(bits uint32) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	for _, s := range special {
		if bits&s.bit != 0 {
			m |= s.mode
		}
	}
	return m
}
