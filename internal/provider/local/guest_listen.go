//go:build linux || darwin

package local

import (
	"net"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A wanted is where the client wants the machine to listen, RFC 4254 section 7.1.
type wanted struct {
	Host string
	Port uint32
}

// listeners serve the global requests of one connection, of which those for
// listening are the only ones that mean something. They end with the connection.
func listeners(conn *ssh.ServerConn, requests <-chan *ssh.Request) {
	open := map[wanted]net.Listener{}
	var wg sync.WaitGroup
	for req := range requests {
		var w wanted
		ok, reply := false, []byte(nil)
		switch req.Type {
		case "tcpip-forward":
			if ssh.Unmarshal(req.Payload, &w) != nil {
				break
			}
			// Whatever the address is, as sshd does without GatewayPorts.
			ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.FormatUint(uint64(w.Port), 10)))
			if err != nil {
				break
			}
			if w.Port == 0 {
				w.Port = uint32(ln.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
				reply = ssh.Marshal(struct{ Port uint32 }{w.Port})
			}
			ok, open[w] = true, ln
			wg.Go(func() { handOver(conn, w, ln) })
		case "cancel-tcpip-forward":
			if ssh.Unmarshal(req.Payload, &w) == nil && open[w] != nil {
				open[w].Close()
				delete(open, w)
				ok = true
			}
		}
		if req.WantReply {
			_ = req.Reply(ok, reply) // a broken connection ends the loop
		}
	}
	for _, ln := range open {
		ln.Close()
	}
	wg.Wait()
}

// handOver hands what connects to ln over to the client.
func handOver(conn *ssh.ServerConn, w wanted, ln net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer c.Close()
			from := c.RemoteAddr().(*net.TCPAddr)
			ch, requests, err := conn.OpenChannel("forwarded-tcpip", ssh.Marshal(struct {
				Host   string
				Port   uint32
				Origin string
				From   uint32
			}{w.Host, w.Port, from.IP.String(), uint32(from.Port)})) //nolint:gosec // a port
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests)
			exchange(ch, c)
		})
	}
}
