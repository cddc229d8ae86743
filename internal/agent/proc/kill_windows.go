package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/windows"
)

// killedCode is the exit code of what we terminate: that of Ctrl-C, STATUS_CONTROL_C_EXIT.
const killedCode = 0xC000013A

// Signal asks the tree to end, by CTRL_BREAK or at a console by Ctrl-C, whatever
// of INT, TERM, HUP and QUIT it is; KILL terminates. Windows knows no other signals.
func (p *Process) Signal(name string) error {
	p.os.mu.Lock()
	console := p.os.console
	p.os.mu.Unlock()
	switch name {
	case "INT", "TERM", "HUP", "QUIT":
		if console == 0 {
			return breakGroup(uint32(p.id.PID))
		}
		_, err := p.Stdin.Write([]byte{3})
		return err
	case "KILL":
		return p.Kill()
	}
	return fmt.Errorf("signal %q: unknown on Windows", name)
}

// Kill terminates the whole tree.
func (p *Process) Kill() error {
	defer p.closeConsole() // what is still to be said comes out, then its end
	p.os.mu.Lock()
	defer p.os.mu.Unlock()
	if p.os.job == 0 {
		return nil
	}
	if err := windows.TerminateJobObject(p.os.job, killedCode); err != nil {
		return fmt.Errorf("terminate job: %w", err)
	}
	return nil
}

func (p *Process) closeJob() error {
	p.os.mu.Lock()
	defer p.os.mu.Unlock()
	job := p.os.job
	if job == 0 {
		return nil
	}
	p.os.job = 0
	return windows.CloseHandle(job)
}

// Kill terminates the tree of id. A tree that is gone is no error: its job
// went with it.
func Kill(_ context.Context, id Identity) error {
	name, err := windows.UTF16PtrFromString(jobName(id.ID))
	if err != nil {
		return err
	}
	job, err := openJob(name)
	if err != nil || job == 0 {
		return err
	}
	err = windows.TerminateJobObject(job, killedCode)
	return errors.Join(err, windows.CloseHandle(job))
}

// Self returns the identity of this process.
func Self() Identity {
	start, err := startTime(os.Getpid())
	if err != nil {
		start = 0 // it cannot fail for oneself; 0 is never alive
	}
	return Identity{PID: os.Getpid(), Start: start}
}

// Alive tells whether the process of id itself, not one of its number, lives.
func Alive(id Identity) bool {
	start, err := startTime(id.PID)
	return err == nil && start == id.Start
}

// startTime returns when a living process was created.
func startTime(pid int) (uint64, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return 0, err
	}
	defer func() { _ = windows.CloseHandle(h) }() // it was opened to be read
	var code uint32
	const stillActive = 259
	if err := windows.GetExitCodeProcess(h, &code); err != nil {
		return 0, err
	}
	if code != stillActive {
		return 0, windows.ERROR_INVALID_PARAMETER
	}
	var created, ended, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &created, &ended, &kernel, &user); err != nil {
		return 0, err
	}
	return uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime), nil
}

// A process has one console at most, so only one can be borrowed at a time.
var borrowing sync.Mutex

// breakGroup sends CTRL_BREAK to a process group through its own console,
// which this process joins for the moment: events stay within a console.
func breakGroup(pid uint32) error {
	borrowing.Lock()
	defer borrowing.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _, _ = freeConsole.Call() // fails when there is none, as it should be
	if ok, _, err := attachConsole.Call(uintptr(pid)); ok == 0 {
		return fmt.Errorf("join console of process %d: %w", pid, err)
	}
	defer func() { _, _, _ = freeConsole.Call() }() // it was joined just now
	if err := windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, pid); err != nil {
		return fmt.Errorf("send break to process %d: %w", pid, err)
	}
	return nil
}
