package proc

// An entry is one process in a snapshot of the system.
type entry struct {
	pid, parent, group, session int
	start                       uint64
	zombie                      bool
}

// family decides which processes of a snapshot belong to the tree of id: its main process,
// those that are marked, those of its session or group, and all their
// children. self, and what is above it, never belongs.
//
// A session outlives its leader, and the kernel gives no new process the
// number of a living session. So a session of our number is ours unless its
// leader is somebody else, started at another time.
func family(table []entry, id Identity, self int, marked func(pid int) bool) []entry {
	byPID := make(map[int]entry, len(table))
	for _, e := range table {
		byPID[e.pid] = e
	}
	excluded := map[int]bool{0: true, 1: true}
	for pid := self; pid > 1 && !excluded[pid]; pid = byPID[pid].parent {
		excluded[pid] = true
	}
	leader, living := byPID[id.PID]
	ours := id.PID > 1 && (!living || leader.start == id.Start)
	in := make(map[int]bool)
	for _, e := range table {
		sameSession := ours && (e.session == id.PID || e.group == id.PID) && e.start >= id.Start
		main := ours && e.pid == id.PID && e.start == id.Start // which need not lead a session or group
		if !excluded[e.pid] && (main || sameSession || !e.zombie && marked(e.pid)) {
			in[e.pid] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for _, e := range table {
			if !in[e.pid] && !excluded[e.pid] && in[e.parent] {
				in[e.pid], grown = true, true
			}
		}
	}
	var members []entry
	for _, e := range table {
		if in[e.pid] && !e.zombie {
			members = append(members, e)
		}
	}
	return members
}
