package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// A Starter starts processes, each in a job of its own.
type Starter struct{}

// NewStarter returns a Starter.
func NewStarter() (*Starter, error) { return &Starter{}, nil }

// Run runs a command of the caller's own.
func (*Starter) Run(cmd *exec.Cmd) error { return cmd.Run() }

// Mind has nothing to do, see Reap.
func (*Starter) Mind(context.Context, *slog.Logger) {}

// Reap has nothing to do: Windows keeps no ended processes.
func (*Starter) Reap() error { return nil }

type osProcess struct {
	wait func() Status // for the main process

	mu      sync.Mutex
	job     windows.Handle // 0 when closed
	console windows.Handle // of a terminal; 0 without, or when closed
	closing sync.WaitGroup // of the console
}

// Start starts spec suspended, puts it into its job and only then lets it run,
// so that no child of it can be outside.
func (s *Starter) Start(spec Spec) (*Process, error) {
	job, err := newJob(spec.ID)
	if err != nil {
		return nil, err
	}
	p := &Process{os: osProcess{job: job}, id: Identity{ID: spec.ID}}
	spec.Env = append(spec.Env[:len(spec.Env):len(spec.Env)], Marker+"="+spec.ID)
	if spec.TTY != nil {
		err = p.startAtConsole(spec)
	} else {
		err = p.startWithPipes(spec)
	}
	if err == nil {
		p.id.Start, err = startTime(p.id.PID)
	}
	if err != nil {
		return nil, errors.Join(err, p.Kill(), p.Close())
	}
	return p, nil
}

func (p *Process) startWithPipes(spec Spec) error {
	cmd := &exec.Cmd{Path: spec.Path, Args: spec.Argv, Dir: spec.Dir, Env: spec.Env}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// A console of its own, without a window, is what CTRL_BREAK needs later.
		CreationFlags: windows.CREATE_SUSPENDED | windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW,
		HideWindow:    true,
	}
	theirs, err := p.pipes(cmd)
	if err == nil {
		err = p.startInJob(cmd)
	}
	for _, f := range theirs {
		err = errors.Join(err, f.Close())
	}
	p.os.wait = func() Status {
		err := cmd.Wait()
		if cmd.ProcessState == nil {
			return Status{Code: -1, Signal: err.Error()}
		}
		return Status{Code: cmd.ProcessState.ExitCode()}
	}
	return err
}

func (p *Process) startInJob(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	p.id.PID = cmd.Process.Pid
	h, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(p.id.PID))
	if err == nil {
		err = windows.AssignProcessToJobObject(p.os.job, h)
		err = errors.Join(err, windows.CloseHandle(h))
	}
	if err == nil {
		err = resume(uint32(p.id.PID))
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("put process into its job: %w", err), cmd.Process.Kill())
		_ = cmd.Wait() // it was killed just now; how it ended says nothing
	}
	return err
}

// newJob makes a job whose processes are killed with its last handle, which is
// ours: a daemon that dies takes its runs with it. The name lets another
// process end it.
func newJob(id string) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(jobName(id))
	if err != nil {
		return 0, err
	}
	job, err := windows.CreateJobObject(nil, name)
	if err != nil {
		return 0, fmt.Errorf("create job: %w", err)
	}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))); err != nil {
		return 0, errors.Join(fmt.Errorf("limit job: %w", err), windows.CloseHandle(job))
	}
	return job, nil
}

func jobName(id string) string { return `Local\outrigger-` + id }

// resume lets the threads of a suspended process run; a new one has just one.
func resume(pid uint32) error {
	snap, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(snap) }() // it was opened to be read
	t := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	resumed := 0
	for err = windows.Thread32First(snap, &t); err == nil; err = windows.Thread32Next(snap, &t) {
		if t.OwnerProcessID != pid {
			continue
		}
		h, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, t.ThreadID)
		if err != nil {
			return err
		}
		_, err = windows.ResumeThread(h)
		if err = errors.Join(err, windows.CloseHandle(h)); err != nil {
			return err
		}
		resumed++
	}
	if !errors.Is(err, windows.ERROR_NO_MORE_FILES) {
		return err
	}
	if resumed == 0 {
		return fmt.Errorf("process %d has no thread", pid)
	}
	return nil
}

// Close closes our ends of the streams, and the job: what is left in it dies.
func (p *Process) Close() error {
	errs := []error{p.closeJob()}
	p.closeConsole()
	if p.Stdin != nil {
		errs = append(errs, ignoreClosed(p.Stdin.Close()))
	}
	for _, f := range []*os.File{p.Stdout, p.Stderr} {
		if f != nil {
			errs = append(errs, ignoreClosed(f.Close()))
		}
	}
	p.os.closing.Wait()
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// EndInput says that there is no more input: at a console as a person does, by
// Ctrl-Z and the return key.
func (p *Process) EndInput() error {
	p.os.mu.Lock()
	console := p.os.console
	p.os.mu.Unlock()
	if console == 0 {
		return ignoreClosed(p.Stdin.Close())
	}
	_, err := p.Stdin.Write([]byte("\x1a\r"))
	return err
}

// Wait waits for the main process to end.
func (p *Process) Wait() Status { return p.os.wait() }
