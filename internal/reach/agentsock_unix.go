//go:build !windows

package reach

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
)

// dialAgent connects to the SSH agent at socket, or at $SSH_AUTH_SOCK.
func dialAgent(ctx context.Context, socket string) (io.ReadWriteCloser, error) {
	if socket == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	if socket == "" {
		return nil, errors.New("not running: SSH_AUTH_SOCK is not set")
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, reason(err)
	}
	return c, nil
}
