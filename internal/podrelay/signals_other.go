//go:build !unix

package podrelay

import (
	"os"
	"syscall"
)

// signalNames are those that the command gets, in the words of the protocol. Pods
// are on Linux; this is for a computer that only compiles what they run.
var signalNames = map[os.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGINT: "INT", syscall.SIGHUP: "HUP", syscall.SIGQUIT: "QUIT"}
