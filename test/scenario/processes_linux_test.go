package scenario

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// processes lists those that belong to the story: whose environment, command
// line, program or working directory lies in one of its folders. What it started
// here inherits them, and what it started through a server works there. A daemon
// on a host that stays is not one of them: it waits some minutes for the next
// run and then ends by itself.
func (s *story) processes() []string {
	var list []string
	s.eachProcess(func(pid int, cmdline string) {
		if s.onServer(pid) && strings.Contains(cmdline, "/outrigger-agent daemon ") {
			return
		}
		list = append(list, fmt.Sprintf("%d %s", pid, cmdline))
	})
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
	s.eachProcess(func(pid int, _ string) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself meanwhile
	})
}

func (s *story) eachProcess(f func(pid int, cmdline string)) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.tb.Error(err)
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || !s.owns(dir) {
			continue
		}
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		f(pid, string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
	}
}

// owns looks at one process. Whatever cannot be read has ended or is another user's.
func (s *story) owns(dir string) bool {
	var text strings.Builder
	for _, file := range []string{"environ", "cmdline"} {
		b, _ := os.ReadFile(filepath.Join(dir, file))
		text.Write(b)
		text.WriteByte(0)
	}
	for _, link := range []string{"cwd", "exe"} {
		target, _ := os.Readlink(filepath.Join(dir, link))
		text.WriteString(target)
		text.WriteByte(0)
	}
	if zombie(dir) {
		return false
	}
	for _, root := range s.roots {
		if strings.Contains(text.String(), root+"/") || strings.Contains(text.String(), root+"\x00") {
			return true
		}
	}
	return false
}

// zombie tells that a process has ended and only waits for its parent to ask.
func zombie(dir string) bool {
	stat, _ := os.ReadFile(dir + "/stat")
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}
