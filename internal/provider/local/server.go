//go:build linux || darwin

package local

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A server serves SSH for one machine.
type server struct {
	f      *folder
	log    *slog.Logger
	config *ssh.ServerConfig

	guest bool   // has what a Mac's sshd has: SFTP and forwarding, both ways, and its variables
	user  string // of a guest

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	used   bool // somebody has logged in
	wg     sync.WaitGroup
}

var errStranger = errors.New("not the key of this machine")

func newServer(f *folder, log *slog.Logger) (*server, error) {
	b, err := os.ReadFile(f.path("host_key"))
	if err != nil {
		return nil, err
	}
	host, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return nil, err
	}
	if b, err = os.ReadFile(f.path("client_key.pub")); err != nil {
		return nil, err
	}
	client, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-Outrigger",
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if bytes.Equal(key.Marshal(), client.Marshal()) || authorized(f.path("home"), key) {
				return nil, nil
			}
			return nil, errStranger
		},
	}
	config.AddHostKey(host)
	return &server{f: f, log: log, config: config, conns: map[net.Conn]bool{}}, nil
}

// authorized looks into ~/.ssh/authorized_keys at each login, as sshd does.
func authorized(home string, key ssh.PublicKey) bool {
	rest, err := os.ReadFile(filepath.Join(home, ".ssh", "authorized_keys"))
	for err == nil && len(rest) > 0 {
		var known ssh.PublicKey
		if known, _, _, rest, err = ssh.ParseAuthorizedKey(rest); err == nil && bytes.Equal(known.Marshal(), key.Marshal()) {
			return true
		}
	}
	return false
}

// serve accepts connections until ctx ends; then it closes them all. Commands
// may still run.
func (s *server) serve(ctx context.Context, ln net.Listener) {
	stop := context.AfterFunc(ctx, func() {
		ln.Close()
		s.closeAll()
	})
	defer stop()
	for {
		c, err := ln.Accept()
		if err != nil {
			return // closed above
		}
		if s.admit(c) {
			go s.handle(c)
		}
	}
}

// admit takes a connection in, for handle, unless the server has been closed.
func (s *server) admit(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.conns[c] = true
	s.wg.Add(1)
	return true
}

// handle serves a connection that was admitted until it is over.
func (s *server) handle(c net.Conn) {
	defer s.wg.Done()
	s.connection(c)
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// closeAll ends every connection and lets none in from now on.
func (s *server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
}

// loginLimit is how long a connection may stay without a login.
const loginLimit = 30 * time.Second

func (s *server) connection(c net.Conn) {
	if err := c.SetDeadline(time.Now().Add(loginLimit)); err != nil {
		return
	}
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		s.log.Debug("no login", "from", c.RemoteAddr(), "error", err)
		return
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return
	}
	s.mu.Lock()
	s.used = true
	s.mu.Unlock()
	var sessions sync.WaitGroup
	if s.guest {
		sessions.Go(func() { listeners(conn, requests) })
	} else {
		go ssh.DiscardRequests(requests) // ends with the connection
	}
	for ch := range channels {
		if s.guest && ch.ChannelType() == "direct-tcpip" {
			sessions.Go(func() { forward(ch) })
			continue
		}
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions") // a broken connection ends the loop
			continue
		}
		sessions.Go(func() { s.session(conn, ch) })
	}
	conn.Close()
	sessions.Wait()
}
