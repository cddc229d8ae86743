//go:build unix

// Package closeonexec keeps the descriptors that this process was started with from processes that
// outlive it. A script that holds a lock in descriptor 9, or reads a pipe to its end, would
// otherwise wait for a machine to be deleted.
package closeonexec

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstInherited is the first descriptor behind stdin, stdout and stderr, which whoever starts a
// process sets.
const firstInherited = 3

// Inherited marks all descriptors but the standard streams, so that no process that is started from
// now on has them unless it is handed them (exec.Cmd.ExtraFiles). Those that Go opens are marked anyway.
func Inherited() error {
	// /dev/fd is this process's own on Linux and on macOS.
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return fmt.Errorf("list inherited descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= firstInherited {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
