//go:build unix

package tree

import "syscall"

// openNonblock keeps the opening of a pipe, put where a file was a moment ago,
// from waiting for a writer. It has no effect on files.
const openNonblock = syscall.O_NONBLOCK
