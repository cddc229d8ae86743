//go:build unix

package run

import (
	"os"
	"syscall"
)

// signalNames are those that a run hands on, in the words of the protocol. TSTP is not among them: as
// with ssh it stops this program, and the command goes on.
var signalNames = map[os.Signal]string{
	os.Interrupt: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP", syscall.SIGQUIT: "QUIT",
	syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2", syscall.SIGALRM: "ALRM", syscall.SIGCONT: "CONT", syscall.SIGWINCH: "WINCH",
	syscall.SIGABRT: "ABRT", syscall.SIGTRAP: "TRAP", syscall.SIGSYS: "SYS", syscall.SIGVTALRM: "VTALRM", syscall.SIGPROF: "PROF",
	syscall.SIGXCPU: "XCPU", syscall.SIGXFSZ: "XFSZ",
}
