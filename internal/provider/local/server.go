//go:build linux || darwin

package local

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A server serves SSH for one machine.
type server struct {
	f      *folder
	log    *slog.Logger
	config *ssh.ServerConfig

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
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
			if !bytes.Equal(key.Marshal(), client.Marshal()) {
				return nil, errStranger
			}
			return nil, nil
		},
	}
	config.AddHostKey(host)
	return &server{f: f, log: log, config: config, conns: map[net.Conn]bool{}}, nil
}

// serve accepts connections until ctx ends; then it closes them all. Commands
// may still run.
func (s *server) serve(ctx context.Context, ln net.Listener) {
	stop := context.AfterFunc(ctx, func() {
		ln.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			c.Close()
		}
	})
	defer stop()
	for {
		c, err := ln.Accept()
		if err != nil {
			return // closed above
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		if ctx.Err() != nil {
			c.Close()
		}
		s.wg.Go(func() {
			s.connection(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
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
	go ssh.DiscardRequests(requests) // ends with the connection
	var sessions sync.WaitGroup
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions") // a broken connection ends the loop
			continue
		}
		sessions.Go(func() { s.session(ch) })
	}
	conn.Close()
	sessions.Wait()
}
