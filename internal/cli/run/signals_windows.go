package run

import (
	"os"
	"syscall"
)

// signalNames are those that a run hands on, in the words of the protocol.
var signalNames = map[os.Signal]string{os.Interrupt: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP"}
