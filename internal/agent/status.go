package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"

	"outrigger.dev/outrigger/internal/agent/daemon"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
)

// status prints what the daemon is, a word and its value on each line. What runs
// get is decided by the session that the daemon is in, not by ours.
func (c *command) status(ctx context.Context) error {
	conn, err := c.join(ctx)
	if err != nil {
		return err
	}
	var d wire.Daemon
	if err := ask(ctx, conn, wire.MethodDaemon, &d); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdio.Out, "session=%s\npid=%d\nruns=%d\nbuild=%s\n", d.Session, d.PID, d.Runs, d.Build)
	return err
}

// stop ends the daemon, if there is one, and returns when it has gone.
func (c *command) stop(ctx context.Context) error {
	cfg, err := c.daemonConfig()
	if err != nil {
		return err
	}
	conn, err := daemon.Find(ctx, cfg)
	if err != nil || conn == nil {
		return err
	}
	return ask(ctx, conn, wire.MethodStop, nil)
}

// ask makes one request to the daemon, and waits until the daemon hangs up if
// that is what was asked for.
func ask(ctx context.Context, link net.Conn, method string, answer any) error {
	conn := wire.NewConn(link)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.Greet(version.Version, machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	if err := conn.Call(method, nil, answer); err != nil {
		return err
	}
	if method != wire.MethodStop {
		return nil
	}
	if _, err := conn.Recv(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
