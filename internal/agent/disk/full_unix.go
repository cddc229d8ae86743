//go:build unix

package disk

import "syscall"

// What a disk says that takes no more, besides ENOSPC.
const (
	errQuota    = syscall.EDQUOT
	errDiskFull = syscall.EFBIG
)
