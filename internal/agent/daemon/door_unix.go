//go:build unix

package daemon

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"syscall"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
)

// socket is relative to the daemon's folder, which is the working directory.
const socket = "socket"

// private sees that dir is a folder of ours that nobody else can enter; that
// is what keeps others from the socket.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return disk.Fault("daemon", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(st.Uid) != os.Geteuid() {
		return fault.New(fault.AgentUnfit, "daemon: %s is not a folder of user %d", dir, os.Geteuid())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return disk.Fault("daemon", os.Chmod(dir, 0o700))
	}
	return nil
}

type unixDoor struct{ net.Listener }

func listen(ctx context.Context, _ string) (door, error) {
	// We hold the lock of the living, so a socket that is there is a dead one's.
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, disk.Fault("daemon", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, disk.Fault("daemon", err)
	}
	return unixDoor{l}, nil
}

// admit has nothing to check: only the user gets to the socket.
func (unixDoor) admit(net.Conn) error { return nil }

func dial(ctx context.Context, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", socket)
}

// detach starts cmd in a session of its own, so that the end of the SSH
// session, and the signals that sshd then sends, do not reach it.
func detach(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}
