package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
)

// renewLimit bounds the question to the daemon, which answers in less than a millisecond.
const renewLimit = 2 * time.Second

// groups are those of this process. On other systems than Linux they may differ between the session at
// the screen, which the daemon is in there, and one of SSH, and nothing can be done about it.
func groups() []int {
	if runtime.GOOS != "linux" {
		return nil
	}
	all, err := os.Getgroups()
	if err != nil {
		return nil
	}
	all = append(all, os.Getegid())
	slices.Sort(all)
	return slices.Compact(all)
}

// renew ends a daemon that began before the user came into another group, unless it
// is busy: a process keeps the groups that it had at its login, and its children have no others.
func renew(ctx context.Context, cfg Config, dir string) error {
	own := groups()
	if own == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	c := knock(ctx, dir)
	if c == nil {
		return nil
	}
	conn := wire.NewConn(c)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.Greet(version.Version, machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	var d wire.Daemon
	if err := conn.Call(wire.MethodDaemon, nil, &d); err != nil {
		return err
	}
	if slices.Equal(d.Groups, own) || d.Runs > 0 {
		return nil
	}
	cfg.Log.Info("daemon of another login is ended", "groups", d.Groups, "now", own)
	err := conn.Call(wire.MethodStop, wire.Stop{Idle: true}, nil)
	if fault.Is(err, fault.Busy) {
		return nil
	}
	if err == nil {
		_, err = conn.Recv() // it hangs up when it has ended
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
