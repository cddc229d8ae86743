package hub

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost"
)

// A handler answers requests. What it takes over from the HTTP server ends with
// ctx, and is waited for by close.
type handler struct {
	hub *Hub
	ctx context.Context //nolint:containedctx // of what outlives its request: see above

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
}

// begin counts what is taken over, until the returned function is called. It is
// nil once the hub ends.
func (h *handler) begin() func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.work.Add(1)
	return h.work.Done
}

func (h *handler) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.work.Wait()
}

// HealthPath answers 200 as long as the hub serves.
const HealthPath = "/healthz"

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		h.connect(w, r)
	case r.URL.Path == outpost.Path:
		h.outpost(w, r)
	case r.URL.Path == HealthPath:
		w.WriteHeader(http.StatusOK)
	default:
		http.Error(w, "this is a hub of Outrigger: outposts connect at "+outpost.Path+", clients with CONNECT", http.StatusNotFound)
	}
}

// outpost lets an outpost in.
func (h *handler) outpost(w http.ResponseWriter, r *http.Request) {
	end := h.begin()
	if end == nil {
		return
	}
	defer end()
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		http.Error(w, "an outpost needs a token", http.StatusUnauthorized)
		return
	}
	g, err := h.hub.settings().tokens.Find(machine.NewSecret(strings.TrimSpace(token)), time.Now())
	if err != nil {
		h.hub.log.Warn("outpost refused", "from", r.RemoteAddr, "cause", err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if !known(r.Context()) {
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{outpost.Protocol}})
	if err != nil {
		h.hub.log.Warn("outpost refused", "outpost", g.Outpost.String(), "from", r.RemoteAddr, "cause", err)
		return // Accept has answered
	}
	if ws.Subprotocol() != outpost.Protocol {
		_ = ws.Close(websocket.StatusPolicyViolation, "want subprotocol "+outpost.Protocol) // it is over in any case
		return
	}
	s, err := outpost.NewSession(h.ctx, ws, true)
	if err != nil {
		h.hub.log.Warn("outpost refused", "outpost", g.Outpost.String(), "from", r.RemoteAddr, "cause", err)
		return
	}
	defer s.Close()
	h.hub.admit(&session{Session: s, grant: g, from: r.RemoteAddr, since: time.Now()})
}

// connect serves a client.
func (h *handler) connect(w http.ResponseWriter, r *http.Request) {
	end := h.begin()
	if end == nil {
		return
	}
	defer end()
	control := http.NewResponseController(w)
	name, pass := basicAuth(r.Header.Get("Proxy-Authorization"))
	to, who, no := h.hub.allowed(name, pass, r.Host)
	var inside net.Conn
	if no == nil {
		if !known(r.Context()) || control.SetReadDeadline(time.Time{}) != nil {
			return // it went away
		}
		inside, no = to.dial(r.Context())
	}
	if no != nil {
		h.hub.log.Info("not connected", "from", r.RemoteAddr, "network", name, "to", r.Host, "for", who, "cause", no.text)
		no.write(w)
		return
	}
	defer inside.Close()
	conn, buffered, err := control.Hijack()
	if err != nil {
		h.hub.log.Error("connection not taken over", "error", err)
		return
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	begin := time.Now()
	h.hub.log.Info("connected", "from", r.RemoteAddr, "network", name, "to", r.Host, "for", who)
	outpost.Join(h.ctx, &early{Conn: conn, r: buffered.Reader}, inside)
	h.hub.log.Info("disconnected", "from", r.RemoteAddr, "network", name, "to", r.Host, "for", who, "after", time.Since(begin).Round(time.Millisecond))
}

// basicAuth reads the user and password of a proxy's client.
func basicAuth(field string) (user string, password machine.Secret) {
	coded, ok := strings.CutPrefix(field, "Basic ")
	if !ok {
		return "", machine.Secret{}
	}
	text, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return "", machine.Secret{}
	}
	user, pw, _ := strings.Cut(string(text), ":")
	return user, machine.NewSecret(pw)
}

// A refusal is an answer other than 200, with a reason in the words of RFC 9209.
type refusal struct {
	status int
	code   outpost.Code
	text   string
}

func (no *refusal) write(w http.ResponseWriter) {
	if no.status == http.StatusProxyAuthRequired {
		w.Header().Set("Proxy-Authenticate", `Basic realm="outrigger hub: network and pass"`)
	}
	w.Header().Set("Proxy-Status", fmt.Sprintf("outrigger-hub; error=%s; details=%s", no.code, quoted(no.text)))
	http.Error(w, no.text, no.status)
}

// quoted writes a string of RFC 8941, which is ASCII.
func quoted(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < ' ' || r > '~':
			out.WriteByte('?')
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// An early connection begins with what the client said ahead of the answer.
type early struct {
	net.Conn
	r io.Reader
}

// Read implements [net.Conn].
func (e *early) Read(b []byte) (int, error) { return e.r.Read(b) }

// CloseWrite ends this direction alone.
func (e *early) CloseWrite() error {
	if half, ok := e.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return e.Conn.Close()
}
