package local

import (
	"os"

	"golang.org/x/sys/unix"
)

// sZomb is the state of a process that only waits for its parent, sys/proc.h.
const sZomb = 5

// marked returns the processes of this user that belong to the machine in dir.
// The kernel shows the environment of a user's own programs to that user,
// except for those that the system protects; nobody starts those on a machine to stay.
func marked(dir string) ([]int, error) {
	procs, err := unix.SysctlKinfoProcSlice("kern.proc.uid", os.Getuid())
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, p := range procs {
		pid := int(p.Proc.P_pid)
		if pid == os.Getpid() || p.Proc.P_stat == sZomb {
			continue
		}
		args, err := unix.SysctlRaw("kern.procargs2", pid)
		if err != nil {
			continue // ended, or protected
		}
		if exe, environ, ok := parseProcargs(args); ok && belongs(dir, exe, environ) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
