package local

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// marked returns the processes that belong to the machine in dir. Those of other
// users cannot be read and are not ours; zombies have nothing left to end.
func marked(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		proc := filepath.Join("/proc", e.Name())
		environ, err := os.ReadFile(filepath.Join(proc, "environ"))
		if err != nil {
			continue // ended, or somebody else's
		}
		exe, err := os.Readlink(filepath.Join(proc, "exe"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			continue // ended
		}
		if belongs(dir, exe, environ) && !zombie(proc) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// zombie tells whether the process has ended and only waits for its parent.
func zombie(proc string) bool {
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return true // gone altogether
	}
	// The state follows the name, which stands in parentheses and may hold any byte.
	_, state, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
	return ok && len(state) > 0 && state[0] == 'Z'
}
