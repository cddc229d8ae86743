//go:build linux || darwin

package local

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// forwardDial is how long a connection that the client asked for may take.
const forwardDial = 10 * time.Second

// forward serves a direct-tcpip channel, RFC 4254 section 7.2.
func forward(nc ssh.NewChannel) {
	var to struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	if ssh.Unmarshal(nc.ExtraData(), &to) != nil {
		_ = nc.Reject(ssh.ConnectionFailed, "malformed request") // a broken connection ends the loop
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forwardDial) // the connection's end shows when the channel is used
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(to.Host, strconv.FormatUint(uint64(to.Port), 10)))
	if err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer c.Close()
	ch, requests, err := nc.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	exchange(ch, c)
}

// exchange copies both ways until both are over.
func exchange(ch ssh.Channel, c net.Conn) {
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(c, ch) // until either side has had enough
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.CloseWrite()
		}
	})
	_, _ = io.Copy(ch, c)
	_ = ch.CloseWrite()
	up.Wait()
	ch.Close()
}

// files serves SFTP on the session's channel, relative to the home.
func (x *session) files() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cmd != nil || x.sftp {
		return false
	}
	server, err := sftp.NewServer(x.ch, sftp.WithServerWorkingDirectory(x.s.f.path("home")))
	if err != nil {
		x.s.log.Warn("no sftp", "error", err)
		return false
	}
	x.sftp = true
	x.done.Go(func() {
		<-x.replied
		_ = server.Serve() // it ends with the client
		x.tell("exit-status", struct{ Code uint32 }{0})
		x.ch.Close()
	})
	return true
}
