//go:build unix

package scenario

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"outrigger.dev/outrigger/internal/provider/qemu/qemutest"
)

// vms gives the script the image that all tests of virtual machines share.
func vms(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 0, "vms")
	s := of(ts)
	state := qemutest.State(s.tb)
	s.roots = append(s.roots, state)
	home := filepath.Join(s.work, "state")
	ts.Check(os.MkdirAll(home, 0o755))
	ts.Check(os.Symlink(state, filepath.Join(home, "outrigger")))
	ts.Setenv("XDG_STATE_HOME", home)
}

// killMachine kills what a machine on this computer is: the emulator of a
// virtual machine, the server of a local one.
func killMachine(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 0, "kill-machine")
	killed := 0
	for _, p := range of(ts).processes() {
		pid, cmdline, _ := strings.Cut(p, " ")
		n, err := strconv.Atoi(pid)
		ts.Check(err)
		if strings.Contains(cmdline, "qemu-system-") || strings.Contains(cmdline, "__local-machine") {
			ts.Check(syscall.Kill(n, syscall.SIGKILL))
			killed++
		}
	}
	if killed == 0 {
		ts.Fatalf("no machine of this script is running")
	}
}
