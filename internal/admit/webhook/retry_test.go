//go:build linux

package webhook_test

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit/webhook"
)

// A service is in front of the webhook as the cluster's is, while a replica that died is still
// one of its endpoints: it breaks connections.
type service struct {
	net.Listener
	breaks  atomic.Int32 // so many of the next ones
	broken  atomic.Int32
	current atomic.Pointer[net.Conn]
}

func newService(t *testing.T, to string) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if s.breaks.Add(-1) >= 0 {
				s.broken.Add(1)
				c.Close()
				continue
			}
			go s.join(c, to)
		}
	}()
	return s
}

func (s *service) join(c net.Conn, to string) {
	defer c.Close()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return // the webhook does not listen yet
	}
	defer d.Close()
	s.current.Store(&c)
	go func() {
		defer c.Close()
		_, _ = io.Copy(c, d) // one of the two hung up
	}()
	_, _ = io.Copy(d, c)
}

// die ends the connection that there is, and breaks so many of the next ones.
func (s *service) die(breaks int32) {
	s.breaks.Store(breaks)
	if c := s.current.Load(); c != nil {
		(*c).Close()
	}
}

// TestAReplicaThatDies: the API server asks again, so that nobody is refused whose Pod is created in that moment.
func TestAReplicaThatDies(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	address := freeAddress(t)
	s := newService(t, address)
	w.replica(address, "https://"+s.Addr().String(), webhook.Times{})
	w.asks()
	for i := range 12 {
		s.die(int32(i % 7))
		p := pod(w.space, fmt.Sprint("p", i), map[string]string{v1alpha1.AnnotationPool: "xcode"})
		if err := w.Create(w.Context(), p); err != nil {
			t.Errorf("%d connections were refused: %v", i%7, err)
		} else if p.Labels[v1alpha1.LabelClaim] == "" {
			t.Errorf("%d connections were refused: the Pod is not rewritten", i%7)
		}
	}
	if s.broken.Load() < 12 {
		t.Errorf("only %d connections were refused", s.broken.Load())
	}
	// One that looks answered is looked at all the same.
	s.die(1)
	p := pod(w.space, "forged", map[string]string{v1alpha1.AnnotationPool: "no-such-pool"})
	p.Labels = map[string]string{v1alpha1.LabelClaim: "mine"}
	if err := w.Create(w.Context(), p); err == nil {
		t.Error("a Pod that only looks rewritten is admitted")
	}
}
