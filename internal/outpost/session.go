package outpost

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/coder/websocket"
	"github.com/hashicorp/yamux"
)

// A Session carries connections between a hub and an outpost.
type Session struct{ mux *yamux.Session }

// Signs of life are asked for after beat and missed after beatLimit: so a
// silent link is noticed within 30 s, before a relay's own 45 (package reach). An
// answer waits behind what is being sent: 2 MB in buffers take 20 s at 100 kB/s.
const (
	beat      = 10 * time.Second
	beatLimit = 20 * time.Second
	// window is what a stream may send ahead of its reader. At 256 KiB, the
	// library's own, 50 ms away means 5 MB/s.
	window = 4 << 20
)

// NewSession begins a session on ws, which it owns. The hub opens streams.
func NewSession(ctx context.Context, ws *websocket.Conn, hub bool) (*Session, error) {
	cfg := yamux.DefaultConfig()
	cfg.KeepAliveInterval, cfg.ConnectionWriteTimeout = beat, beatLimit
	cfg.MaxStreamWindowSize = window
	cfg.LogOutput = io.Discard // what ends a session comes back as an error
	conn := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	begin := yamux.Server
	if hub {
		begin = yamux.Client
	}
	mux, err := begin(conn, cfg)
	if err != nil {
		_ = ws.CloseNow() // nothing was said on it
		return nil, fmt.Errorf("session: %w", err)
	}
	return &Session{mux}, nil
}

// Close ends the session and everything on it.
func (s *Session) Close() error { return s.mux.Close() }

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.mux.CloseChan() }

// Streams returns how many connections there are on it.
func (s *Session) Streams() int { return s.mux.NumStreams() }

// Dial asks the outpost at the other end to connect to address. What it answers
// is a [*Refusal]; other errors are the session's.
func (s *Session) Dial(ctx context.Context, address string) (net.Conn, error) {
	st, err := s.mux.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	conn := &stream{st}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = writeFrame(conn, request{To: address})
	var a answer
	if err == nil {
		err = readFrame(conn, &a)
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil && a.Code == "" {
		return conn, nil
	}
	conn.Close()
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return nil, &Refusal{a.Code, a.Error}
}

// A request opens a stream.
type request struct {
	To string `json:"to"`
}

// An answer follows it; the zero answer means that the connection is made.
type answer struct {
	Code  Code   `json:"code,omitempty"`
	Error string `json:"error,omitempty"`
}

// A Refusal is why an outpost has not connected.
type Refusal struct {
	Code Code
	Text string
}

// Error returns the text.
func (r *Refusal) Error() string { return r.Text }

// A Code is a reason in the words of RFC 9209, section 2.3.
type Code string

// The reasons of an outpost.
const (
	Prohibited  Code = "destination_ip_prohibited"
	Unroutable  Code = "destination_ip_unroutable"
	Refused     Code = "connection_refused"
	TimedOut    Code = "connection_timeout"
	NoName      Code = "dns_error"
	Unavailable Code = "destination_unavailable"
	BadRequest  Code = "http_request_error"
)

// maxFrame bounds a request and its answer.
const maxFrame = 2 << 10

func writeFrame(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...))
	return err
}

func readFrame(r io.Reader, v any) error {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > maxFrame {
		return fmt.Errorf("a frame of %d bytes: at most %d are allowed", n, maxFrame)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// A stream is a yamux stream with the halves of a TCP connection: its Close ends
// the sending half alone, and leaves a reader waiting.
type stream struct{ *yamux.Stream }

// CloseWrite ends this direction.
func (s *stream) CloseWrite() error { return s.Stream.Close() }

// Close ends both directions.
func (s *stream) Close() error {
	err := s.Stream.Close()
	_ = s.SetReadDeadline(time.Unix(1, 0)) // it never fails; it wakes a reader
	return err
}
