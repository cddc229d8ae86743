package transfer

import (
	"errors"

	"golang.org/x/sys/windows"
)

// diskFull tells whether there is no space, or none within the user's quota.
func diskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) || errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}
