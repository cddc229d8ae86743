package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/home"
	"outrigger.dev/outrigger/internal/agent/lease"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/parcel"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// A server answers one client on stdio.
type server struct {
	root   disk.Root
	leases *lease.Store
	log    *slog.Logger
}

// serve answers requests until the client hangs up.
func (s *server) serve(ctx context.Context, stdio Stdio) error {
	conn := wire.NewConn(stream{stdio})
	defer context.AfterFunc(ctx, func() { conn.Close() })()
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
	s.leases = s.leases.As(hello.Key).At(hello.Now)
	for {
		f, err := conn.Recv()
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if f.Type == wire.TypePing {
			if err := conn.SendBytes(wire.TypePong); err != nil {
				return err
			}
			continue
		}
		var req wire.Request
		if f.Type != wire.TypeRequest || f.Decode(&req) != nil {
			return fault.New(fault.Protocol, "serve: got frame type %d, want a request", f.Type)
		}
		if err := s.answer(ctx, conn, req); err != nil {
			return fmt.Errorf("%s: %w", req.Method, err)
		}
	}
}

func (s *server) answer(ctx context.Context, conn *wire.Conn, req wire.Request) error {
	if req.Method != wire.MethodSync { // in a sync, only its operations are work
		defer conn.Beat(wire.BeatEvery)()
	}
	switch req.Method {
	case wire.MethodInfo:
		return respond(conn, req, func(q wire.InfoRequest) (wire.Info, error) { return s.info(ctx, q) })
	case wire.MethodLeaseAcquire:
		return respond(conn, req, func(q wire.LeaseAcquire) (wire.Lease, error) { return s.leases.Acquire(ctx, q) })
	case wire.MethodLeaseRenew:
		return respond(conn, req, func(q wire.LeaseRenew) (wire.Lease, error) { return s.leases.Renew(ctx, q) })
	case wire.MethodLeaseRelease:
		// A client that hangs up in the middle still wants it released.
		return respond(conn, req, func(q wire.LeaseRelease) (wire.LeaseReleased, error) {
			return s.release(context.WithoutCancel(ctx), q)
		})
	case wire.MethodHomeRecord:
		return respond(conn, req, func(q wire.HomeRecord) (wire.HomeRecorded, error) { return s.recordHome(ctx, q) })
	case wire.MethodLeaseList:
		return respond(conn, req, func(any) (wire.LeaseList, error) {
			return s.leases.List()
		})
	case wire.MethodLink:
		return respond(conn, req, func(q wire.LinkRequest) (wire.LinkAnswer, error) { return s.leases.Link(ctx, q) })
	case wire.MethodLinkCheck:
		return respond(conn, req, s.leases.Check)
	case wire.MethodSync:
		return s.sync(ctx, conn, req)
	case parcel.MethodPack, parcel.MethodUnpack:
		return parcel.Serve(ctx, conn, req)
	}
	return conn.Respond(nil, fault.New(fault.Protocol, "method %q: unknown", req.Method))
}

// respond decodes a request, and answers it with what do returns.
func respond[Q, A any](conn *wire.Conn, req wire.Request, do func(Q) (A, error)) error {
	var q Q
	if err := wire.Unmarshal(req.Body, &q); err != nil {
		return conn.Respond(nil, fault.New(fault.Protocol, "%s: %w", req.Method, err))
	}
	a, err := do(q)
	return conn.Respond(a, err)
}

// release ends a lease, and on a machine that goes to somebody else puts the home right.
func (s *server) release(ctx context.Context, q wire.LeaseRelease) (wire.LeaseReleased, error) {
	out, err := s.leases.Release(ctx, q)
	if err != nil || !q.Clean || len(q.Home) == 0 {
		return out, err
	}
	others, err := s.leases.List()
	if err != nil || len(others.Leases)+others.Others > 0 {
		return out, err // who comes last does it
	}
	h, err := s.home(q.Sole)
	if err != nil {
		return out, err
	}
	for _, l := range h.Restore(ctx, q.Home) {
		out.Left = append(out.Left, l.String())
	}
	return out, nil
}

func (s *server) recordHome(ctx context.Context, q wire.HomeRecord) (wire.HomeRecorded, error) {
	h, err := s.home(q.Sole)
	if err != nil {
		return wire.HomeRecorded{}, err
	}
	digest, err := h.Record(ctx)
	return wire.HomeRecorded{Digest: digest}, err
}

// localMachine is set where package provider/local made the machine: its user is the one who made it, and runs other things.
const localMachine = "OUTRIGGER_MACHINE"

func (s *server) home(sole bool) (home.Home, error) {
	dir, err := os.UserHomeDir()
	if err != nil {
		return home.Home{}, disk.Fault("home folder", err)
	}
	return home.Home{Dir: dir, File: s.root.Home(), Sole: sole && os.Getenv(localMachine) == ""}, nil
}

// sync hands the connection to package transfer until the client ends the session.
func (s *server) sync(ctx context.Context, conn *wire.Conn, req wire.Request) error {
	var cfg transfer.ServeConfig
	stop := conn.Beat(wire.BeatEvery)
	err := respond(conn, req, func(q wire.SyncRequest) (any, error) {
		var err error
		cfg, err = s.syncConfig(ctx, q)
		return nil, err
	})
	stop()
	if err != nil || cfg.Root == "" {
		return err
	}
	return transfer.Serve(ctx, conn, cfg)
}

// syncConfig makes the folder that is to be synced. The session may outlive the lease, so it holds the lease
// whenever it makes a folder in it.
func (s *server) syncConfig(ctx context.Context, q wire.SyncRequest) (cfg transfer.ServeConfig, err error) {
	err = s.leases.With(ctx, q.Lease, func(dir disk.LeaseDir, _ disk.Lease) error {
		root, err := dir.Work(q.Folder)
		if err != nil {
			return err
		}
		state, err := dir.Sync(q.Folder)
		if err != nil {
			return err
		}
		if err := dir.Reopen(); err != nil {
			return err
		}
		cfg = transfer.ServeConfig{Root: root, Within: string(dir), StateDir: state, Log: s.log}
		return disk.Fault("work folder", os.MkdirAll(root, 0o700))
	})
	if err != nil {
		return transfer.ServeConfig{}, err
	}
	cfg.Hold = func(ctx context.Context, use func() error) error {
		return s.leases.With(ctx, q.Lease, func(dir disk.LeaseDir, _ disk.Lease) error {
			if err := dir.Reopen(); err != nil {
				return err
			}
			return use()
		})
	}
	return cfg, nil
}
