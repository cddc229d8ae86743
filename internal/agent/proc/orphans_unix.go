//go:build unix

package proc

import "os"

// Orphans returns processes of this user that are nobody's children but the system's: what was
// started at a login and outlived it. Those of this program are left out, and so are those that the system
// itself starts for a user.
func Orphans() ([]Identity, error) {
	all, err := table()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	managers := map[int]bool{1: true}
	var mine []entry
	for _, e := range all {
		path, ok := programOf(e.pid)
		switch {
		case e.zombie || !ok || path == self:
		case e.parent == 1 && manager(path):
			managers[e.pid] = true // systemd --user
		case !systems(path):
			mine = append(mine, e)
		}
	}
	var found []Identity
	for _, e := range mine {
		if managers[e.parent] && e.pid != os.Getpid() {
			found = append(found, Identity{PID: e.pid, Start: e.start, Boot: boot()})
		}
	}
	return found, nil
}
