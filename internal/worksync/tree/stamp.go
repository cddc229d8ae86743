package tree

import (
	"io/fs"
	"math"
	"time"
)

// Windows in which a second change of a file may leave its times as they are.
// The kernel's clock for files ticks every 1 to 10 ms on Linux and 16 ms on
// Windows; FAT and some network file systems count whole or even seconds.
const (
	fineTick   = 100 * time.Millisecond
	coarseTick = 3 * time.Second
)

// StampOf makes a stamp of what a stat found; now is when it was called.
func StampOf(fi fs.FileInfo, now time.Time) Stamp {
	s := Stamp{Mode: ModeBits(fi.Mode())}
	switch fi.Mode().Type() {
	case 0:
		s.Size, s.MTime = fi.Size(), nanos(fi.ModTime())
	case fs.ModeDir:
		s.MTime = nanos(fi.ModTime())
	}
	s.CTime, s.Inode = changed(fi)
	s.Racy = racy(s, now)
	return s
}

// At returns the stamp as it counts at a later time, up to which nobody but us
// is taken to have changed the file within a tick of our own change and put its
// modification time back.
func (s Stamp) At(now time.Time) Stamp {
	s.Racy = racy(s, now)
	return s
}

// racy tells whether the file was touched so shortly before the stamp was
// taken that it may be touched again without any of its times moving.
func racy(s Stamp, now time.Time) bool {
	last := max(s.MTime, s.CTime)
	tick := fineTick
	if s.MTime%int64(time.Second) == 0 && s.CTime%int64(time.Second) == 0 {
		tick = coarseTick
	}
	return last > now.UnixNano()-int64(tick)
}

// Unchanged tells whether a file that was stamped as old, and now looks like
// s, is certain to have the same content.
func (s Stamp) Unchanged(old Stamp) bool {
	return !old.Racy && !old.Absent && s.Size == old.Size && s.MTime == old.MTime && s.CTime == old.CTime &&
		s.Inode == old.Inode && s.Mode == old.Mode
}

// SameFile tells whether two stamps, taken in one sync, show the same state of
// the same file; whether they are racy does not matter.
func (s Stamp) SameFile(other Stamp) bool {
	s.Racy, other.Racy = false, false
	return s == other
}

// nanos clamps times outside of what 64 bits hold, the years 1678 to 2262.
func nanos(t time.Time) int64 {
	switch y := t.Year(); {
	case y < 1678:
		return math.MinInt64
	case y > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}
