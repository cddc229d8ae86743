package daemon

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/windows"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
)

// private lets only the user and the system into dir, and into what is made in it.
func private(dir string) error {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fault.New(fault.AgentUnfit, "daemon: who is the user: %w", err)
	}
	sd, err := windows.SecurityDescriptorFromString(fmt.Sprintf("D:P(A;OICI;FA;;;%s)(A;OICI;FA;;;SY)", user.User.Sid))
	if err != nil {
		return fault.New(fault.Internal, "daemon: permissions: %w", err)
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return fault.New(fault.Internal, "daemon: permissions: %w", err)
	}
	err = windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	return disk.Fault("daemon: permissions of "+dir, err)
}

// endpoint is the file with address and token, a line each.
func endpoint(dir string) string { return filepath.Join(dir, "endpoint") }

type loopback struct {
	net.Listener
	token string
	dir   string
}

// tokenLen is that of crypto/rand.Text: at least 128 random bits.
var tokenLen = len(rand.Text())

func listen(ctx context.Context, dir string) (door, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fault.New(fault.AgentUnfit, "daemon: %w", err)
	}
	d := &loopback{Listener: l, token: rand.Text(), dir: dir}
	tmp := endpoint(dir) + ".new"
	err = os.WriteFile(tmp, []byte(l.Addr().String()+"\n"+d.token+"\n"), 0o600)
	if err == nil {
		err = os.Rename(tmp, endpoint(dir))
	}
	if err != nil {
		return nil, disk.Fault("daemon", errors.Join(err, l.Close()))
	}
	return d, nil
}

// Close also takes the address away.
func (d *loopback) Close() error { return errors.Join(os.Remove(endpoint(d.dir)), d.Listener.Close()) }

// admit checks the token: anybody on the machine can reach the port.
func (d *loopback) admit(c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(greetLimit)); err != nil {
		return err
	}
	got := make([]byte, tokenLen)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(got, []byte(d.token)) != 1 {
		return errors.New("wrong token")
	}
	return c.SetReadDeadline(time.Time{})
}

func dial(ctx context.Context, dir string) (net.Conn, error) {
	b, err := os.ReadFile(endpoint(dir))
	if err != nil {
		return nil, err
	}
	addr, token, ok := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if !ok {
		return nil, errors.New("endpoint file is cut off")
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, token); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// detach starts cmd without a console and outside the job that sshd puts a
// session's processes into, if that job lets it.
func detach(cmd *exec.Cmd) error {
	const flags = windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: flags | windows.CREATE_BREAKAWAY_FROM_JOB}
	err := cmd.Start()
	if !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return err
	}
	again := exec.CommandContext(context.Background(), cmd.Path, cmd.Args[1:]...)
	again.Dir, again.Stdout, again.Stderr = cmd.Dir, cmd.Stdout, cmd.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{CreationFlags: flags}
	err = again.Start()
	cmd.Process = again.Process
	return err
}
