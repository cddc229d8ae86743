package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"outrigger.dev/outrigger/internal/agent/lease"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
)

// serve answers requests on one connection.
func (s *server) serve(ctx context.Context, conn *wire.Conn) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	slow := time.AfterFunc(firstRequest, func() { conn.Close() })
	defer slow.Stop()
	if err := conn.SendHello(version.Version, machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	hello, err := conn.RecvHello()
	if err != nil {
		return err
	}
	leases := s.leases.As(hello.Key)
	for {
		f, err := conn.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		slow.Stop()
		var req wire.Request
		if f.Type != wire.TypeRequest || f.Decode(&req) != nil {
			return fault.New(fault.Protocol, "daemon: got frame type %d, want a request", f.Type)
		}
		if err := s.answer(ctx, conn, leases, req); err != nil {
			return fmt.Errorf("%s: %w", req.Method, err)
		}
	}
}

// errStreamed ends a connection after a run was streamed on it.
var errStreamed = errors.New("the run was streamed")

func (s *server) answer(ctx context.Context, conn *wire.Conn, leases *lease.Store, req wire.Request) error {
	decode := func(v any) error {
		if err := wire.Unmarshal(req.Body, v); err != nil {
			return fault.New(fault.Protocol, "%s: %w", req.Method, err)
		}
		return nil
	}
	switch req.Method {
	case wire.MethodRunStart:
		var q wire.RunStart
		if err := decode(&q); err != nil {
			return conn.Respond(nil, err)
		}
		if _, err := leases.Living(q.Spec.Lease); err != nil {
			return conn.Respond(nil, err)
		}
		run, err := s.runs.Start(ctx, q.Spec)
		if err != nil {
			return conn.Respond(nil, err)
		}
		if q.Resume {
			return orStreamed(run.Resume(ctx, conn, q.Ping))
		}
		return orStreamed(run.Stream(ctx, conn, 0, q.Ping))
	case wire.MethodRunAttach:
		var q wire.RunAttach
		if err := decode(&q); err != nil {
			return conn.Respond(nil, err)
		}
		if !leases.Mine(q.Lease) {
			return conn.Respond(nil, fault.New(fault.RunLost, "run %s: not known on this machine", q.RunID))
		}
		run, err := s.runs.Attach(ctx, q.Lease, q.RunID)
		if err != nil {
			return conn.Respond(nil, err)
		}
		if q.Resume {
			return orStreamed(run.Resume(ctx, conn, q.Ping))
		}
		return orStreamed(run.Stream(ctx, conn, q.Have, q.Ping))
	case wire.MethodRunKill:
		var q wire.RunKill
		if err := decode(&q); err != nil {
			return conn.Respond(nil, err)
		}
		if run := s.runs.Find(q.Lease, q.RunID); run != nil && leases.Mine(q.Lease) {
			run.End(wire.EndedByClient, q.Now)
		}
		return conn.Respond(nil, nil)
	case wire.MethodRunList:
		all := slices.DeleteFunc(s.runs.List(), func(r wire.RunState) bool { return !leases.Mine(r.Lease) })
		return conn.Respond(wire.RunList{Runs: all}, nil)
	case wire.MethodDaemon:
		n, _ := s.runs.Count()
		return conn.Respond(wire.Daemon{PID: os.Getpid(), Session: s.session, Build: version.Version, Runs: n, Groups: groups()}, nil)
	case wire.MethodStop:
		var q wire.Stop
		if err := decode(&q); err != nil {
			return conn.Respond(nil, err)
		}
		if q.Idle && !s.close(1) {
			return conn.Respond(nil, fault.New(fault.Busy, "daemon: has runs or other connections"))
		}
		err := conn.Respond(nil, nil)
		s.stop()
		return err
	}
	return conn.Respond(nil, fault.New(fault.Protocol, "method %q: unknown", req.Method))
}

func orStreamed(err error) error {
	if err == nil {
		return errStreamed
	}
	return err
}
