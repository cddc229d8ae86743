//go:build linux

package webhook_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	for _, breaks := range []int32{0, 1, 100} {
		s.die(breaks)
		p := pod(w.space, "forged", map[string]string{v1alpha1.AnnotationPool: "no-such-pool"})
		p.Labels = map[string]string{v1alpha1.LabelClaim: "mine"}
		if err := w.Create(w.Context(), p); err == nil {
			t.Errorf("%d connections were refused: a Pod that only looks rewritten is admitted", breaks)
		}
	}
}

// tektonTriesAgain is what Tekton asks about an error before it gives a TaskRun up
// (isExceededResourceQuotaError in pkg/reconciler/taskrun/taskrun.go of v1.12.0).
func tektonTriesAgain(err error) bool {
	return err != nil && apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota")
}

// TestNobodyAnswers: a marked Pod is not created, in words after which Tekton tries again, and other Pods are.
func TestNobodyAnswers(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	r, address := w.start()
	r.stop()
	selected := pod(w.space, "selected", nil)
	selected.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: "darwin"}
	copied := pod(w.space, "copied", map[string]string{v1alpha1.AnnotationRequest: "{}", v1alpha1.AnnotationImages: "{}"})
	for _, p := range []*corev1.Pod{w.marked("marked"), selected, copied} {
		w.eventually("refused: "+p.Name, func() error {
			if err := w.Create(t.Context(), p.DeepCopy(), client.DryRunAll); !tektonTriesAgain(err) {
				return fmt.Errorf("Tekton gives up after: %w", err)
			}
			return nil
		})
	}
	forged := w.marked("forged")
	forged.Labels = map[string]string{v1alpha1.LabelClaim: "mine"}
	if err := w.Create(t.Context(), forged); err == nil {
		t.Error("a Pod that only looks rewritten is admitted")
	}
	plain := pod(w.space, "plain", map[string]string{v1alpha1.AnnotationKeep: "1h", "example.com/x": "y"})
	w.must(w.Create(t.Context(), plain, client.DryRunAll))
	ours := w.marked("ours")
	ours.Namespace = system
	w.must(w.Create(t.Context(), ours, client.DryRunAll))

	w.replica(address, "https://"+address, webhook.Times{})
	w.asks()
	w.must(w.Create(t.Context(), w.marked("marked")))
}

// TestBreaksWhileAsked: the connection breaks again and again, in the middle of questions too. Each
// Pod is rewritten, or refused so that it is created again.
func TestBreaksWhileAsked(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	address := freeAddress(t)
	s := newService(t, address)
	w.replica(address, "https://"+s.Addr().String(), webhook.Times{})
	w.asks()
	w.eventually("the API server knows the policy", func() error {
		s.die(1000)
		if err := w.Create(t.Context(), w.marked("early"), client.DryRunAll); !tektonTriesAgain(err) {
			return fmt.Errorf("created, or refused with: %w", err)
		}
		return nil
	})
	ctx, enough := context.WithCancel(t.Context())
	var broken sync.WaitGroup
	broken.Go(func() {
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for n := int32(0); ; n++ {
			select {
			case <-tick.C:
				s.die(n % 12)
			case <-ctx.Done():
				s.die(0)
				return
			}
		}
	})
	rewritten, later := 0, 0
	for i := range 150 {
		p := w.marked(fmt.Sprint("p", i))
		switch err := w.Create(t.Context(), p, client.DryRunAll); {
		case err == nil && p.Labels[v1alpha1.LabelClaim] != "":
			rewritten++
		case tektonTriesAgain(err):
			later++
		default:
			t.Errorf("neither rewritten nor to be tried again: %v", err)
		}
	}
	enough()
	broken.Wait()
	t.Logf("%d rewritten, %d to be tried again", rewritten, later)
}
