package proc

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"

	"outrigger.dev/outrigger/internal/wire"
)

// startAtConsole starts spec at a pseudo console, which turns what programs do
// to a console into bytes for a terminal.
func (p *Process) startAtConsole(spec Spec) error {
	inR, inW, err := os.Pipe()
	if err != nil {
		return err
	}
	p.Stdin = inW
	outR, outW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, inR.Close())
	}
	p.Stdout = outR
	err = windows.CreatePseudoConsole(coord(*spec.TTY), windows.Handle(inR.Fd()), windows.Handle(outW.Fd()), 0, &p.os.console)
	if err != nil {
		err = fmt.Errorf("make a console: %w", err)
	}
	// The console holds its own handles to them.
	err = errors.Join(err, inR.Close(), outW.Close())
	if err != nil {
		return err
	}
	info, err := p.create(spec)
	if err != nil {
		return err
	}
	p.id.PID = int(info.ProcessId)
	p.os.wait = func() Status { return waitProcess(info.Process) }
	err = windows.AssignProcessToJobObject(p.os.job, info.Process)
	if err == nil {
		_, err = windows.ResumeThread(info.Thread)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("put process into its job: %w", err), windows.TerminateProcess(info.Process, killedCode), windows.CloseHandle(info.Process))
	}
	return errors.Join(err, windows.CloseHandle(info.Thread))
}

// create creates the process at the console, suspended.
func (p *Process) create(spec Spec) (windows.ProcessInformation, error) {
	var info windows.ProcessInformation
	attrs, err := windows.NewProcThreadAttributeList(1)
	if err != nil {
		return info, err
	}
	defer attrs.Delete()
	// The attribute's value is the handle itself, not where it is.
	handle := *(*unsafe.Pointer)(unsafe.Pointer(&p.os.console))
	if err := attrs.Update(windows.PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE, handle, unsafe.Sizeof(p.os.console)); err != nil {
		return info, err
	}
	si := windows.StartupInfoEx{ProcThreadAttributeList: attrs.List()}
	si.Cb = uint32(unsafe.Sizeof(si))
	si.Flags = windows.STARTF_USESTDHANDLES // with none, so that they are the console's
	path, err1 := windows.UTF16PtrFromString(spec.Path)
	line, err2 := windows.UTF16PtrFromString(windows.ComposeCommandLine(spec.Argv))
	dir, err3 := windows.UTF16PtrFromString(spec.Dir)
	if err := errors.Join(err1, err2, err3); err != nil {
		return info, err
	}
	const flags = windows.CREATE_SUSPENDED | windows.CREATE_UNICODE_ENVIRONMENT | windows.EXTENDED_STARTUPINFO_PRESENT
	err = windows.CreateProcess(path, line, nil, nil, false, flags, envBlock(spec.Env), dir, &si.StartupInfo, &info)
	return info, err
}

// envBlock is an environment as CreateProcess wants it: strings that end in a
// zero, and a zero at the end.
func envBlock(env []string) *uint16 {
	var b []uint16
	for _, kv := range env {
		if !strings.ContainsRune(kv, 0) {
			b = append(append(b, utf16.Encode([]rune(kv))...), 0)
		}
	}
	b = append(b, 0, 0)
	return &b[0]
}

func waitProcess(h windows.Handle) Status {
	_, err := windows.WaitForSingleObject(h, windows.INFINITE)
	var code uint32
	if err == nil {
		err = windows.GetExitCodeProcess(h, &code)
	}
	if err = errors.Join(err, windows.CloseHandle(h)); err != nil {
		return Status{Code: -1, Signal: err.Error()}
	}
	return Status{Code: int(code)}
}

// Resize tells the console its size.
func (p *Process) Resize(size wire.WinSize) error {
	p.os.mu.Lock()
	defer p.os.mu.Unlock()
	if p.os.console == 0 {
		return nil
	}
	return windows.ResizePseudoConsole(p.os.console, coord(size))
}

// closeConsole closes the console without waiting: it ends only when all that
// it has to say is read. Close waits.
func (p *Process) closeConsole() {
	p.os.mu.Lock()
	defer p.os.mu.Unlock()
	console := p.os.console
	if console == 0 {
		return
	}
	p.os.console = 0
	p.os.closing.Go(func() { windows.ClosePseudoConsole(console) })
}

func coord(s wire.WinSize) windows.Coord { return windows.Coord{X: int16(s.Cols), Y: int16(s.Rows)} }
