//go:build unix

package config

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// tooOpen warns when others than its owner may read f.
func tooOpen(f *os.File) []string {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return nil // a file that cannot be looked at cannot be read either, which is said then
	}
	return []string{fmt.Sprintf("%s: mode %04o lets others read it: chmod 600", f.Name(), info.Mode().Perm())}
}

// killTree makes the end of cmd's context end what cmd started as well.
func killTree(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
