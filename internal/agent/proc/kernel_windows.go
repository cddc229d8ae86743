package proc

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/windows"
)

// What golang.org/x/sys/windows does not have of kernel32.
var (
	kernel32      = windows.NewLazySystemDLL("kernel32.dll")
	attachConsole = kernel32.NewProc("AttachConsole")
	freeConsole   = kernel32.NewProc("FreeConsole")
	openJobObject = kernel32.NewProc("OpenJobObjectW")
)

// openJob opens a job to terminate it; 0 when there is none of that name.
func openJob(name *uint16) (windows.Handle, error) {
	const jobObjectTerminate = 8
	h, _, err := openJobObject.Call(jobObjectTerminate, 0, uintptr(unsafe.Pointer(name)))
	if h == 0 && !errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return 0, err
	}
	return windows.Handle(h), nil
}
