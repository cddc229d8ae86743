package agent

import (
	"context"
	"os"
	"os/user"
	"runtime"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/agent/link"
	"outrigger.dev/outrigger/internal/agent/session"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/version"
	"outrigger.dev/outrigger/internal/wire"
)

func (s *server) info(ctx context.Context, q wire.InfoRequest) (wire.Info, error) {
	info := wire.Info{
		Platform: machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH},
		Root:     string(s.root), Session: session.Kind(ctx), Build: version.Version,
	}
	var err error
	if info.Hostname, err = os.Hostname(); err != nil {
		return info, disk.Fault("host name", err)
	}
	if info.Home, err = os.UserHomeDir(); err != nil {
		return info, disk.Fault("home folder", err)
	}
	if u, err := user.Current(); err == nil {
		info.User = u.Username
	} else {
		info.User = os.Getenv("USER") // a user without an entry still has a name at login
	}
	if info.FreeBytes, err = freeBytes(string(s.root)); err != nil {
		s.log.Warn("free space", "error", err)
		info.FreeBytes = -1
	}
	if q.Root {
		info.MayRoot = os.Geteuid() == 0 || link.MaySudo(ctx)
	}
	return info, nil
}
