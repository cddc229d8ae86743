//go:build unix

package podrelay

import (
	"os"
	"syscall"
)

// signalNames are those that the command gets, in the words of the protocol.
var signalNames = map[os.Signal]string{
	syscall.SIGTERM: "TERM", syscall.SIGINT: "INT", syscall.SIGHUP: "HUP", syscall.SIGQUIT: "QUIT",
	syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2",
}
