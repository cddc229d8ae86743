package proc

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB of <sys/proc.h>.
const zombie = 5

// table takes a snapshot of all processes.
func table() ([]entry, error) {
	procs, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, err
	}
	all := make([]entry, 0, len(procs))
	for i := range procs {
		all = append(all, entryOf(&procs[i]))
	}
	return all, nil
}

// look reads one process.
func look(pid int) (entry, error) {
	procs, err := unix.SysctlKinfoProcSlice("kern.proc.pid", pid)
	if err != nil {
		return entry{}, err
	}
	if len(procs) != 1 {
		return entry{}, fmt.Errorf("process %d: not there", pid)
	}
	return entryOf(&procs[0]), nil
}

// entryOf leaves the session out, which kinfo_proc gives only as an address in
// the kernel; groups and parents must do.
func entryOf(k *unix.KinfoProc) entry {
	t := k.Proc.P_starttime
	return entry{
		pid: int(k.Proc.P_pid), parent: int(k.Eproc.Ppid), group: int(k.Eproc.Pgid),
		start:  uint64(t.Sec)*1e6 + uint64(t.Usec),
		zombie: k.Proc.P_stat == zombie,
	}
}

// marked tells whether the process inherited the mark of id. The system hides
// the environment of its own programs, whose children are found all the same.
func marked(pid int, id string) bool {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	return err == nil && bytes.Contains(b, []byte("\x00"+Marker+"="+id+"\x00"))
}

// boot identifies this start of the machine.
func boot() string {
	t, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return "" // then start times alone must do
	}
	return strconv.FormatInt(t.Sec, 10)
}
