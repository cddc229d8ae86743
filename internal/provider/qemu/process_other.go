//go:build !linux

package qemu

import (
	"context"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// unsupported tells why the provider cannot run here.
func unsupported() error {
	return fault.New(fault.ProviderRefused, "qemu: machines are made on Linux, this computer runs %s", runtime.GOOS).
		WithRemedy("Use the provider local or ssh, or run Outrigger on a Linux computer.")
}

func holders(string) ([]*os.Process, error) { return nil, unsupported() }

func processorTime(string) (time.Duration, error) { return 0, unsupported() }

func detached() *syscall.SysProcAttr { return nil }

func apart() *syscall.SysProcAttr { return nil }

func signalGroup(*os.Process, syscall.Signal) error { return unsupported() }

func dialIn(context.Context, string, string) (net.Conn, error) { return nil, unsupported() }
