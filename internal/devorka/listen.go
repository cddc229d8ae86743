package devorka

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/devorka/kube"
	"outrigger.dev/outrigger/internal/devorka/rest"
)

// A listener serves one door until it is closed.
type listener struct {
	addr   string
	srv    *http.Server
	cancel context.CancelFunc

	mu      sync.Mutex
	closing bool
	wg      sync.WaitGroup // of requests and of Serve
}

// enter lets a request in, unless the door closes.
func (l *listener) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return false
	}
	l.wg.Add(1)
	return true
}

// headerLimit is how long a client may take to say what it wants.
const headerLimit = 30 * time.Second

func listen(addr string, h http.Handler, cert *tls.Certificate, log *slog.Logger) (*listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background()) // close ends it
	l := &listener{addr: ln.Addr().String(), cancel: cancel}
	l.srv = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !l.enter() {
				panic(http.ErrAbortHandler)
			}
			defer l.wg.Done()
			h.ServeHTTP(w, r)
			if ctx.Err() != nil {
				panic(http.ErrAbortHandler) // it was broken off: an empty answer would be taken for a good one
			}
		}),
		ReadHeaderTimeout: headerLimit,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	serve := func() error { return l.srv.Serve(ln) }
	if cert != nil {
		l.srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
		serve = func() error { return l.srv.ServeTLS(ln, "", "") }
	}
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			log.Error("door does not serve", "address", l.addr, "error", err)
		}
	}()
	return l, nil
}

// close breaks every connection, and waits until no request is in work.
func (l *listener) close() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.cancel()
	_ = l.srv.Close() // that of the listening socket tells nobody anything
	l.wg.Wait()
}

// openDoors opens those that are closed, at the addresses that they had.
func (s *Server) openDoors() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	var err error
	if s.kube == nil {
		if s.cfg.KubeListen == "" {
			s.cfg.KubeListen = net.JoinHostPort(host(s.cfg.Listen), "0")
		}
		cert, err := s.ca.certificate(s.certNames())
		if err != nil {
			return err
		}
		door := kube.New(kube.Config{Store: s.store, Operator: s.operator, Access: s.access, Faults: s.faults, Log: s.cfg.Log})
		if s.kube, err = listen(s.cfg.KubeListen, s.dated(door), &cert, s.cfg.Log); err != nil {
			return err
		}
		s.cfg.KubeListen = s.kube.addr
	}
	if s.rest == nil {
		info := rest.ClusterInfo{
			APIDomain: s.domain(), APIEndpoint: "https://" + s.advertise(s.kube.addr), CertData: string(s.ca.pem),
		}
		door := rest.New(rest.Config{
			Store: s.store, Operator: s.operator, Access: s.access, Faults: s.faults, Doubts: s.cfg.Doubts, Info: info,
			DeployTimeout: s.cfg.DeployTimeout, Minute: s.cfg.Minute, Log: s.cfg.Log,
		})
		if s.rest, err = listen(s.cfg.Listen, s.dated(s.withDev(door)), nil, s.cfg.Log); err != nil {
			return err
		}
		s.cfg.Listen = s.rest.addr
	}
	return nil
}

// dated has answers say the time by the cluster's clock.
func (s *Server) dated(h http.Handler) http.Handler {
	if s.cfg.Ahead == 0 {
		return h // net/http says it
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.cfg.now().UTC().Format(http.TimeFormat))
		h.ServeHTTP(w, r)
	})
}

// domain is the name that clients of the Kubernetes door may connect to instead of its address.
func (s *Server) domain() string {
	if len(s.cfg.Names) > 0 {
		return s.cfg.Names[0]
	}
	return "localhost"
}

// certNames are what the Kubernetes door may be called by.
func (s *Server) certNames() []string {
	names := append([]string{"localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default.svc"}, s.cfg.Names...)
	names = append(names, s.cfg.Addresses...)
	if h := host(s.cfg.KubeListen); h != "" && h != "0.0.0.0" && h != "::" {
		names = append(names, h)
	}
	return names
}

// advertise is an address that clients can dial: of a door that listens everywhere,
// the first of the nodes.
func (s *Server) advertise(addr string) string {
	h, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(h); ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort(s.cfg.Addresses[0], port)
	}
	return addr
}

func (s *Server) restAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.advertise(s.cfg.Listen)
}

func (s *Server) kubeAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.advertise(s.cfg.KubeListen)
}

// Restart closes both doors, breaking every request in work, and opens them after a
// while, at the same addresses. Watches from before are too old then. VMs do not notice.
func (s *Server) Restart(ctx context.Context, down time.Duration) error {
	s.mu.Lock()
	rest, kube := s.rest, s.kube
	s.rest, s.kube = nil, nil
	s.mu.Unlock()
	for _, l := range []*listener{rest, kube} {
		if l != nil {
			l.close()
		}
	}
	s.store.Forget()
	t := time.NewTimer(down)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return s.openDoors()
}
