//go:build unix

package transfer

import (
	"errors"
	"syscall"
)

// diskFull tells whether there is no space, or none within the user's quota.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
