//go:build unix

package proc

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"outrigger.dev/outrigger/internal/wire"
)

type osProcess struct {
	cmd     *exec.Cmd
	starter *Starter
	tty     *os.File // our end of the terminal
}

// Start starts spec. Errors are the system's own: fs.ErrNotExist also when the
// interpreter of a script is what does not exist.
func (s *Starter) Start(spec Spec) (*Process, error) {
	cmd := &exec.Cmd{Path: spec.Path, Args: spec.Argv, Dir: spec.Dir, Env: append(spec.Env[:len(spec.Env):len(spec.Env)], Marker+"="+spec.ID)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p := &Process{os: osProcess{cmd: cmd, starter: s}}
	theirs, err := p.connect(spec)
	if err == nil {
		cmd, err = s.startIn(spec.Group, cmd, spec.Umask)
		p.os.cmd = cmd
	}
	for _, f := range theirs {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.id = Identity{ID: spec.ID, PID: cmd.Process.Pid, Boot: boot()}
	// The process cannot be gone: nobody has waited for it yet.
	e, err := look(p.id.PID)
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill(), p.Kill())
		p.Wait()
		return nil, errors.Join(err, p.Close())
	}
	p.id.Start = e.start
	return p, nil
}

// connect makes the command's streams and returns its ends of them.
func (p *Process) connect(spec Spec) (theirs []*os.File, err error) {
	cmd := p.os.cmd
	if spec.TTY != nil {
		ours, tty, err := pty.Open()
		if err != nil {
			return nil, err
		}
		p.os.tty, p.Stdout, p.Stdin = ours, ours, ours
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		cmd.SysProcAttr.Setctty = true
		theirs = append(theirs, tty)
		if spec.ErrPipe {
			errR, errW, err := os.Pipe()
			if err != nil {
				return theirs, err
			}
			p.Stderr, cmd.Stderr, theirs = errR, errW, append(theirs, errW)
		}
		return theirs, p.Resize(*spec.TTY)
	}
	return p.pipes(cmd)
}

// Close closes our ends of the streams, and lets go of what is left of the tree.
func (p *Process) Close() error {
	p.os.starter.ended(p.os.cmd)
	var errs []error
	if p.Stdin != nil && p.os.tty == nil {
		errs = append(errs, ignoreClosed(p.Stdin.Close()))
	}
	for _, f := range []*os.File{p.Stdout, p.Stderr} {
		if f != nil {
			errs = append(errs, ignoreClosed(f.Close()))
		}
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// EndInput says that there is no more input: to a terminal as a person does,
// by its end-of-file character.
func (p *Process) EndInput() error {
	if p.os.tty == nil {
		return ignoreClosed(p.Stdin.Close())
	}
	const eot = 4 // Ctrl-D, the default VEOF
	_, err := p.os.tty.Write([]byte{eot})
	return err
}

// Resize tells the terminal its size; the kernel sends WINCH to its programs.
func (p *Process) Resize(size wire.WinSize) error {
	if p.os.tty == nil {
		return nil
	}
	return pty.Setsize(p.os.tty, &pty.Winsize{Cols: size.Cols, Rows: size.Rows})
}

// Wait waits for the main process to end.
func (p *Process) Wait() Status {
	err := p.os.cmd.Wait()
	state := p.os.cmd.ProcessState
	if state == nil { // somebody else reaped it, which nobody may
		return Status{Code: -1, Signal: err.Error()}
	}
	var st Status
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		st.MaxRSS = int64(ru.Maxrss) * rssUnit
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		st.Signal, st.SigNum = signalName(ws.Signal()), int(ws.Signal())
		return st
	}
	st.Code = state.ExitCode()
	return st
}

func signalName(s syscall.Signal) string {
	name := unix.SignalName(s)
	if len(name) > 3 && name[:3] == "SIG" {
		return name[3:]
	}
	return s.String()
}

// startWith starts cmd with a umask. It is the whole process's for that moment, during which one
// start follows another and whatever else is made is for our user alone anyway.
func startWith(cmd *exec.Cmd, umask *int) error {
	if umask != nil {
		defer syscall.Umask(syscall.Umask(*umask))
	}
	return cmd.Start()
}
