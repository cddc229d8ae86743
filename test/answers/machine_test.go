//go:build linux

package answers

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/test/sshd"
)

// A hostile is a machine with a real agent, whose answers are changed on their way to the client.
type hostile struct {
	port int
	home string // of its sessions
	key  *sshd.Key

	mu     sync.Mutex
	rnd    *rand.Rand
	chance float64 // that a frame is changed
	wg     sync.WaitGroup
}

func newHostile(t *testing.T, seed uint64) *hostile {
	t.Helper()
	h := &hostile{home: t.TempDir(), key: sshd.NewKey(t, "ed25519"), rnd: rand.New(rand.NewPCG(seed, 5))}
	signer, err := ssh.ParsePrivateKey([]byte(h.key.PEM))
	if err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	cfg.AddHostKey(signer)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.port = ln.Addr().(*net.TCPAddr).Port
	h.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed below
			}
			h.wg.Go(func() { h.serve(c, cfg) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		h.wg.Wait() // the clients are gone by now
	})
	return h
}

func (h *hostile) serve(c net.Conn, cfg *ssh.ServerConfig) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return // who came went again
	}
	defer conn.Close()
	h.wg.Go(func() { ssh.DiscardRequests(requests) })
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.Prohibited, "sessions only") // the client may be gone
			continue
		}
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		h.wg.Go(func() { h.session(channel, requests) })
	}
}

// session executes the one command of a session, as sshd does.
func (h *hostile) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for req := range requests {
		var exe struct{ Command string }
		ok := req.Type == "exec" && ssh.Unmarshal(req.Payload, &exe) == nil
		if req.WantReply {
			_ = req.Reply(ok || req.Type == "env" || req.Type == "pty-req", nil) // the client may be gone
		}
		if !ok {
			continue
		}
		h.wg.Go(func() { ssh.DiscardRequests(requests) })
		cmd := exec.Command("/bin/sh", "-c", exe.Command)
		cmd.Dir = h.home
		cmd.Env = []string{"HOME=" + h.home, "PATH=" + os.Getenv("PATH"), "USER=evil", "SHELL=/bin/sh"}
		cmd.Stderr = channel.Stderr()
		in, err := cmd.StdinPipe()
		if err != nil {
			return
		}
		out, err := cmd.StdoutPipe()
		if err != nil || cmd.Start() != nil {
			return
		}
		h.wg.Go(func() {
			_, _ = io.Copy(in, channel) // until either end goes
			in.Close()
		})
		h.pass(channel, bufio.NewReader(out))
		// What is left of the output is nobody's, and so that it ends.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(cmd.ProcessState.ExitCode())}))
		return
	}
}

// pass copies text up to where frames begin, and then frames, some of them changed.
func (h *hostile) pass(to io.Writer, from *bufio.Reader) {
	for {
		if b, err := from.Peek(1); err != nil || b[0] == byte(wire.TypeHello) {
			break
		}
		line, err := from.ReadBytes('\n')
		if _, werr := to.Write(h.text(line)); err != nil || werr != nil {
			return
		}
	}
	for {
		var head [5]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(from, payload); err != nil {
			return
		}
		for _, f := range h.change(frame{head[0], payload}) {
			if err := f.write(to); err != nil {
				return
			}
		}
	}
}

type frame struct {
	kind    byte
	payload []byte
}

func (f frame) write(w io.Writer) error {
	b := binary.BigEndian.AppendUint32([]byte{f.kind}, uint32(len(f.payload)))
	_, err := w.Write(append(b, f.payload...))
	return err
}

// config is the client's, for this machine.
func (h *hostile) config(t *testing.T, key string) string {
	t.Helper()
	return fmt.Sprintf(`
default: evil
providers:
  evil:
    ssh:
      hosts:
        - {name: evil, address: 127.0.0.1, port: %d, user: evil, slots: 4, keyFiles: [%q], hostKeys: [%q]}
`, h.port, key, h.key.Line())
}
