package scenario

import (
	"fmt"
	"os"
	"strings"

	"outrigger.dev/outrigger/test/processes"
)

// processes lists those that belong to the story, as [processes.Of] finds them. What it started here inherits its folders,
// and what it started through a server works there. A daemon on a host that stays is not one of them: it waits some minutes
// for the next run and then ends by itself.
func (s *story) processes() []string {
	var list []string
	for _, p := range processes.Of(s.roots...) {
		if s.onServer(p.PID) && strings.Contains(p.Command, "/outrigger-agent daemon ") {
			continue
		}
		list = append(list, fmt.Sprintf("%d %s", p.PID, p.Command))
	}
	return list
}

// onServer tells whether a process is one of a server's sessions.
func (s *story) onServer(pid int) bool {
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	for _, srv := range s.servers {
		if strings.Contains(string(environ), "HOME="+srv.Home+"\x00") {
			return true
		}
	}
	return false
}

func (s *story) killProcesses() {
	for _, p := range processes.Of(s.roots...) {
		if _, err := p.Kill(); err != nil {
			s.tb.Error(err)
		}
	}
}
