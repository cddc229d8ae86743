//go:build unix

package proc

import "os"

// OfUser returns the processes with which the trees of this user begin: those that none of this user's has
// started. So these are logins, what outlived its login, and what the system started for the user. What this process is
// below is left out, and so are those that the system itself starts for a user.
func OfUser() ([]Identity, error) {
	all, err := table()
	if err != nil {
		return nil, err
	}
	parents := make(map[int]int, len(all))
	mine := map[int]bool{}
	for _, e := range all {
		parents[e.pid] = e.parent
		path, ok := programOf(e.pid)
		mine[e.pid] = ok && !e.zombie && !systems(path) && !(e.parent == 1 && manager(e.pid, path))
	}
	above := map[int]bool{}
	for pid := os.Getpid(); pid > 1 && !above[pid]; pid = parents[pid] {
		above[pid] = true
	}
	var found []Identity
	for _, e := range all {
		if mine[e.pid] && !mine[e.parent] && !above[e.pid] {
			found = append(found, Identity{PID: e.pid, Start: e.start, Boot: boot()})
		}
	}
	return found, nil
}
