package sshd

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A Network is a network namespace with nothing in it but a loopback: a machine
// whose ports are not this process's.
type Network struct {
	tb testing.TB
	f  *os.File
}

// NewNetwork makes a network that ends with the test, or skips the test where
// that is not allowed.
func NewNetwork(tb testing.TB) *Network {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("only root can give the machine a network of its own")
	}
	type made struct {
		f   *os.File
		err error
	}
	got := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		f, err := unshare()
		got <- made{f, err}
	}()
	m := <-got
	if m.err != nil {
		tb.Fatal(m.err)
	}
	tb.Cleanup(func() { m.f.Close() })
	return &Network{tb, m.f}
}

// unshare gives the calling thread a network of its own.
func unshare() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
}

// Path names the network, for [Options.Net] and nsenter.
func (n *Network) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.f.Fd()) }

// Do calls f in the network: sockets made by it belong there.
func (n *Network) Do(f func()) {
	n.tb.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		err := unix.Setns(int(n.f.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		n.tb.Fatal(err)
	}
}
