package reach

import (
	"context"
	"io"
	"os"
)

// windowsAgent is the pipe of the agent that comes with Windows.
const windowsAgent = `\\.\pipe\openssh-ssh-agent`

// dialAgent connects to the SSH agent at the pipe socket, at $SSH_AUTH_SOCK, or at that of Windows.
func dialAgent(_ context.Context, socket string) (io.ReadWriteCloser, error) {
	if socket == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	if socket == "" {
		socket = windowsAgent
	}
	f, err := os.OpenFile(socket, os.O_RDWR, 0)
	if err != nil {
		return nil, pathless(err)
	}
	return f, nil
}
