//go:build linux

package chaos

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/provider/qemu/qemutest"
	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/processes"
	"outrigger.dev/outrigger/test/sshd"
)

// A site is where the machines of a case are.
type site struct {
	kind    string            // local, ssh or qemu
	server  *sshd.Server      // of ssh
	proxy   *faultproxy.Proxy // in front of it
	marks   string            // folder on this computer that the scripts tell in what they do; none for qemu
	roots   []string          // folders that its processes know of
	clients []*client
}

// newLocal is a site of throwaway machines on this computer.
func newLocal(t *testing.T) *site {
	s := &site{kind: "local", marks: openFolder(t)}
	s.add(t, "run: {absence: 3s}\n")
	return s
}

// newSSH is a site of one host with one slot, behind a line that breaks and stalls. A third of them has a second client.
func newSSH(t *testing.T, seed uint64, rnd *rand.Rand) *site {
	t.Helper()
	s := &site{kind: "ssh", marks: openFolder(t), server: sshd.Start(t, sshd.Options{})}
	s.roots = append(s.roots, s.server.Home)
	kinds := []faultproxy.Kind{faultproxy.Cut, faultproxy.Finish, faultproxy.Pause}
	if rnd.IntN(10) == 0 {
		kinds = append(kinds, faultproxy.Vanish) // it takes a while until that is found
	}
	var err error
	s.proxy, err = faultproxy.Start(faultproxy.Config{
		Target: fmt.Sprintf("127.0.0.1:%d", s.server.Port),
		Link:   faultproxy.Link{Delay: time.Duration(rnd.IntN(5)) * time.Millisecond, BytesPerSec: []int64{0, 0, 8 << 20}[rnd.IntN(3)]},
		Plan: faultproxy.Plan{
			Seed: seed, Every: 32<<10 + rnd.Int64N(1<<20), Max: 1 + rnd.IntN(5), Pause: time.Duration(50+rnd.IntN(500)) * time.Millisecond, Kinds: kinds,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	if rnd.IntN(8) > 0 { // else the delivery is a part of the case
		plantAgent(t, s.server)
	}
	for range 1 + (rnd.IntN(3)+1)/3 {
		s.add(t, hostConfig(t, s.server, s.proxy.Port(), 1))
	}
	return s
}

// newQEMU is a site of virtual machines that resume from a saved guest.
func newQEMU(t *testing.T) *site {
	t.Helper()
	state := qemutest.State(t)
	s := &site{kind: "qemu", roots: []string{state}}
	c := s.add(t, "default: qemu\nrun: {absence: 20s}\nproviders: {qemu: {qemu: {accel: tcg, memoryMiB: 512, bootTimeout: 3m}}}\n")
	own := filepath.Join(c.home, ".local", "state")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(state, filepath.Join(own, "outrigger")); err != nil {
		t.Fatal(err)
	}
	return s
}

// add gives the site a client with this configuration.
func (s *site) add(t *testing.T, config string) *client {
	t.Helper()
	c := &client{place: newPlace(t), site: s, id: len(s.clients)}
	c.writeConfig(t, config)
	s.clients = append(s.clients, c)
	s.roots = append(s.roots, c.home)
	return c
}

// openFolder is one that the sessions' user can write to as well.
func openFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// farHome is the home on a host that stays.
func (s *site) farHome() string {
	if s.server == nil {
		return "/nonexistent"
	}
	return s.server.Home
}

// stall lets nothing of the site's pass for a while: its line, or the process that is the machine.
func (s *site) stall(d time.Duration) bool {
	if s.proxy != nil {
		resume := s.proxy.Stall()
		time.AfterFunc(d, resume)
		return true
	}
	for _, p := range processes.Of(s.roots...) {
		if kindOf(p) == "server" && syscall.Kill(p.PID, syscall.SIGSTOP) == nil {
			time.AfterFunc(d, func() { _ = syscall.Kill(p.PID, syscall.SIGCONT) }) // it may be killed by then
			return true
		}
	}
	return false
}

// plantAgent puts the agent where an earlier run would have left it.
func plantAgent(t *testing.T, srv *sshd.Server) {
	t.Helper()
	program := filepath.Join(bin, "agents", "outrigger-agent-"+runtime.GOOS+"-"+runtime.GOARCH)
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.Stat(srv.Home)
	if err != nil {
		t.Fatal(err)
	}
	owner := home.Sys().(*syscall.Stat_t)
	dir := srv.Home
	for _, part := range []string{".outrigger", "agents", fmt.Sprintf("%x", sha256.Sum256(b))} {
		dir = filepath.Join(dir, part)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, int(owner.Uid), int(owner.Gid))); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "outrigger-agent")
	if err := errors.Join(os.WriteFile(file, b, 0o755), os.Chown(file, int(owner.Uid), int(owner.Gid))); err != nil {
		t.Fatal(err)
	}
}
