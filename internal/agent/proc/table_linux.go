package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// table takes a snapshot of /proc. Processes that end meanwhile are left out.
func table() ([]entry, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue // not a process
		}
		if e, err := look(pid); err == nil {
			all = append(all, e)
		}
	}
	return all, nil
}

// look reads one process.
func look(pid int) (entry, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return entry{}, err
	}
	return parseStat(pid, b)
}

// parseStat reads proc_pid_stat(5). The second field is the program's name in
// parentheses, which may hold anything, so the fields are counted from the last one.
func parseStat(pid int, b []byte) (entry, error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return entry{}, fmt.Errorf("/proc/%d/stat: no name in %q", pid, b)
	}
	f := strings.Fields(string(b[i+1:])) // f[0] is field 3, the state
	if len(f) < 20 {
		return entry{}, fmt.Errorf("/proc/%d/stat: %d fields, want at least 22", pid, len(f)+2)
	}
	parent, err1 := strconv.Atoi(f[1])
	group, err2 := strconv.Atoi(f[2])
	session, err3 := strconv.Atoi(f[3])
	start, err4 := strconv.ParseUint(f[19], 10, 64)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return entry{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return entry{pid: pid, parent: parent, group: group, session: session, start: start, zombie: f[0] == "Z" || f[0] == "X"}, nil
}

// environLimit bounds what is read of a foreign process's environment; Linux
// allows an environment to be a quarter of the stack, 2 MiB.
const environLimit = 2 << 20

// marked tells whether the process inherited the mark of id. A process of another
// user cannot be looked into, and not be killed either.
func marked(pid int, id string) bool {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, environLimit))
	if err != nil {
		return false
	}
	want := []byte(Marker + "=" + id + "\x00")
	return bytes.HasPrefix(b, want) || bytes.Contains(b, append([]byte{0}, want...))
}

// boot identifies this start of the machine.
func boot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // then start times alone must do
	}
	return strings.TrimSpace(string(b))
}
