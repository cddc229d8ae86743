//go:build linux || darwin

package local

import (
	"context"
	"crypto/subtle"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/machine"
)

// A GuestConfig says what a [Guest] is like.
type GuestConfig struct {
	User, Password string    // who may log in, besides the keys of ~/.ssh/authorized_keys
	LoginAfter     time.Time // until then every login is refused, as while a Mac still starts
	Log            *slog.Logger
}

// A Guest is a machine as a [Provider]'s are, but for its SSH server: that is part
// of the calling process, serves the connections that it is handed and lets a user
// in by password. So it costs no process until somebody logs in. It is what
// stands behind the VMs of outrigger dev orka.
//
// Its folder is the caller's to name; home in it is HOME. Whatever was started on it
// carries the folder's path in [Marker] and ends with it.
type Guest struct {
	f   *folder
	cfg GuestConfig

	mu sync.Mutex
	s  *server // nil: stopped
	// processes may be there of an earlier server, even one of an earlier process.
	uncertain bool
}

var errPassword = errors.New("wrong user or password")

// Supported tells why there are no machines on this system; nil where there are.
func Supported() error { return nil }

// OpenGuest makes the machine in dir, or finds the one that is there, stopped.
func OpenGuest(dir string, cfg GuestConfig) (*Guest, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	_, err := os.Stat(dir)
	found := err == nil
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// Processes are known by this path, so it has one spelling.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	f := &folder{name: machine.Name(filepath.Base(dir)), dir: dir}
	for _, sub := range []string{"home", "tmp"} {
		if err := os.MkdirAll(f.path(sub), 0o700); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(f.path("host_key.pub")); errors.Is(err, fs.ErrNotExist) {
		if err := f.newKey("host_key"); err != nil {
			return nil, err
		}
	}
	return &Guest{f: f, cfg: cfg, uncertain: found}, nil
}

// Home is the folder that is HOME on the machine.
func (g *Guest) Home() string { return g.f.path("home") }

// Start lets connections in.
func (g *Guest) Start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.s != nil {
		return nil
	}
	keys, err := g.f.hostKeys()
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-Outrigger",
		PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			return nil, g.password(c.User(), string(password))
		},
		KeyboardInteractiveCallback: func(c ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password:"}, []bool{false})
			if err != nil || len(answers) != 1 {
				return nil, errors.Join(errPassword, err)
			}
			return nil, g.password(c.User(), answers[0])
		},
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, g.key(c.User(), key)
		},
	}
	for _, k := range keys {
		config.AddHostKey(k)
	}
	g.s = &server{f: g.f, log: g.cfg.Log, config: config, conns: map[net.Conn]bool{}, guest: true, user: g.cfg.User}
	return nil
}

func (g *Guest) password(user, password string) error {
	right := subtle.ConstantTimeCompare([]byte(user+"\x00"+password), []byte(g.cfg.User+"\x00"+g.cfg.Password)) == 1
	if !right || time.Now().Before(g.cfg.LoginAfter) {
		return errPassword
	}
	return nil
}

func (g *Guest) key(user string, key ssh.PublicKey) error {
	if user != g.cfg.User || time.Now().Before(g.cfg.LoginAfter) || !authorized(g.Home(), key) {
		return errStranger
	}
	return nil
}

// Serve serves one connection until it is over, and closes it. A machine that
// is stopped closes it at once.
func (g *Guest) Serve(c net.Conn) {
	g.mu.Lock()
	s := g.s
	g.mu.Unlock()
	if s == nil {
		c.Close()
		return
	}
	if s.admit(c) {
		s.handle(c)
	}
}

// Stop ends every connection and every process of the machine.
func (g *Guest) Stop(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.s == nil && !g.uncertain {
		return nil
	}
	used := g.uncertain
	if g.s != nil {
		g.s.closeAll()
		g.s.mu.Lock()
		used = used || g.s.used
		g.s.mu.Unlock()
	}
	if used {
		if err := endMarked(ctx, g.f.dir); err != nil {
			g.uncertain = true
			return err
		}
	}
	if g.s != nil {
		g.s.wg.Wait()
		// A command may have been started between the two.
		if used {
			if err := endMarked(ctx, g.f.dir); err != nil {
				g.uncertain = true
				return err
			}
		}
	}
	g.s, g.uncertain = nil, false
	return nil
}

// Remove stops the machine and removes all that it left.
func (g *Guest) Remove(ctx context.Context) error {
	if err := g.Stop(ctx); err != nil {
		return err
	}
	if err := releaseLeases(ctx, g.f, g.cfg.Log); err != nil {
		return err
	}
	return removeAll(g.f.dir)
}
