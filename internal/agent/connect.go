package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"

	"outrigger.dev/outrigger/internal/agent/daemon"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
)

// connect joins stdio to the daemon until either ends.
func (c *command) connect(ctx context.Context) error {
	conn, err := c.join(ctx)
	if err != nil {
		return errors.Join(err, c.excuse(err))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	go func() {
		// Whatever ends this, the daemon is told and closes, which ends us.
		_, _ = io.Copy(conn, c.stdio.In)
		if half, ok := conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
			conn.Close()
		}
	}()
	_, err = io.Copy(c.stdio.Out, conn)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (c *command) join(ctx context.Context) (net.Conn, error) {
	cfg, err := c.daemonConfig()
	if err != nil {
		return nil, err
	}
	return daemon.Join(ctx, cfg)
}

// excuse answers the client's first request with why there is no daemon, so
// that it learns more than that a stream ended.
func (c *command) excuse(why error) error {
	conn := wire.NewConn(stream{c.stdio})
	if err := conn.SendHello(version.Version, machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); err != nil {
		return err
	}
	if _, err := conn.RecvHello(); err != nil {
		return err
	}
	if _, err := conn.Recv(); err != nil {
		return err
	}
	return conn.Respond(nil, why)
}

// A stream makes one of the process's stdin and stdout.
type stream struct{ Stdio }

// Read reads stdin.
func (s stream) Read(b []byte) (int, error) { return s.In.Read(b) }

// Write writes to stdout.
func (s stream) Write(b []byte) (int, error) { return s.Out.Write(b) }

// Close closes both.
func (s stream) Close() error { return errors.Join(s.In.Close(), s.Out.Close()) }
