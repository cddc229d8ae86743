package home

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"outrigger.dev/outrigger/internal/agent/disk"
)

// kinds are the three of System V, with what controls one of that kind.
var kinds = []struct {
	name    string
	control func(id uintptr) syscall.Errno
}{
	{"shm", func(id uintptr) syscall.Errno { return control(unix.SYS_SHMCTL, id, unix.IPC_RMID, 0) }},
	{"msg", func(id uintptr) syscall.Errno { return control(unix.SYS_MSGCTL, id, unix.IPC_RMID, 0) }},
	{"sem", func(id uintptr) syscall.Errno { return control(unix.SYS_SEMCTL, id, 0, unix.IPC_RMID) }},
}

func control(call, id, a, b uintptr) syscall.Errno {
	_, _, errno := unix.Syscall6(call, id, a, b, 0, 0, 0)
	return errno
}

// segments returns System V's shared memory, queues and semaphores of this user, which outlive all processes (ipcs(1)).
// Root's are the system's own.
func segments() (all []string) {
	if os.Geteuid() == 0 {
		return nil
	}
	me := strconv.Itoa(os.Geteuid())
	for _, k := range kinds {
		b, err := os.ReadFile("/proc/sysvipc/" + k.name)
		if err != nil {
			continue // the kernel has none
		}
		var columns []string
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if columns == nil {
				columns = f
				continue
			}
			for i, c := range columns {
				if (c == "uid" || c == "cuid") && i < len(f) && f[i] == me {
					all = append(all, k.name+" "+f[1])
					break
				}
			}
		}
	}
	return all
}

// removeSegments removes those that were not there.
func removeSegments(was []string) (left []disk.Left) {
	for _, s := range segments() {
		if slices.Contains(was, s) {
			continue
		}
		name, number, _ := strings.Cut(s, " ")
		id, err := strconv.Atoi(number)
		for _, k := range kinds {
			if k.name != name || err != nil {
				continue
			}
			if errno := k.control(uintptr(id)); errno != 0 && !errors.Is(errno, unix.EIDRM) && !errors.Is(errno, unix.EINVAL) {
				err = errno
			}
		}
		if err != nil {
			left = append(left, disk.Left{Path: "System V " + s, Why: err.Error()})
		}
	}
	return left
}
