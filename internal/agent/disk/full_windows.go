package disk

import "golang.org/x/sys/windows"

// What a disk says that takes no more.
const (
	errQuota    = windows.ERROR_HANDLE_DISK_FULL
	errDiskFull = windows.ERROR_DISK_FULL
)
