//go:build linux

package webhook_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit/webhook"
)

func (w *world) configuration() (*admissionv1.MutatingWebhookConfiguration, error) {
	c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: webhook.Configuration}}
	return c, w.Get(w.Context(), client.ObjectKeyFromObject(c), c)
}

func (w *world) marked(name string) *corev1.Pod {
	return pod(w.space, name, map[string]string{v1alpha1.AnnotationPool: "xcode"})
}

func TestConfigurationIsPutBack(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	w.start()
	c, err := w.configuration()
	w.must(err)
	good := c.DeepCopy()
	for what, change := range map[string]func(*admissionv1.MutatingWebhookConfiguration) error{
		"deleted": func(c *admissionv1.MutatingWebhookConfiguration) error { return w.Delete(w.Context(), c) },
		"weakened": func(c *admissionv1.MutatingWebhookConfiguration) error {
			c.Webhooks[0].FailurePolicy = new(admissionv1.Ignore)
			return w.Update(w.Context(), c)
		},
		"widened": func(c *admissionv1.MutatingWebhookConfiguration) error {
			c.Webhooks[0].MatchConditions, c.Webhooks[0].NamespaceSelector = nil, nil
			return w.Update(w.Context(), c)
		},
		"another authority": func(c *admissionv1.MutatingWebhookConfiguration) error {
			c.Webhooks[0].ClientConfig.CABundle = nil
			return w.Update(w.Context(), c)
		},
		"emptied": func(c *admissionv1.MutatingWebhookConfiguration) error {
			c.Webhooks = nil
			return w.Update(w.Context(), c)
		},
	} {
		w.eventually(what, func() error {
			c, err := w.configuration()
			if err != nil {
				return err
			}
			return change(c)
		})
		w.eventually("back after it was "+what, func() error {
			c, err := w.configuration()
			if err != nil {
				return err
			}
			if !equality.Semantic.DeepEqual(c.Webhooks, good.Webhooks) {
				return fmt.Errorf("got %v, want %v", c.Webhooks, good.Webhooks)
			}
			return nil
		})
	}
	w.asks()
}

// TestPolicyIsPutBack: without it, Pods would pass about which nobody answered.
func TestPolicyIsPutBack(t *testing.T) {
	w := newWorld(t)
	w.start()
	key := client.ObjectKey{Name: webhook.Policy}
	var policy admissionv1.ValidatingAdmissionPolicy
	var binding admissionv1.ValidatingAdmissionPolicyBinding
	for what, change := range map[string]func() error{
		"deleted": func() error { return w.Delete(w.Context(), &policy) },
		"unbound": func() error { return w.Delete(w.Context(), &binding) },
		"made to warn": func() error {
			binding.Spec.ValidationActions[0] = admissionv1.Warn
			return w.Update(w.Context(), &binding)
		},
		"made to allow": func() error { policy.Spec.Validations[0].Expression = "true"; return w.Update(w.Context(), &policy) },
	} {
		w.eventually("there before it is "+what, func() error {
			return errors.Join(w.Get(w.Context(), key, &policy), w.Get(w.Context(), key, &binding))
		})
		goodPolicy, goodBinding := policy.DeepCopy(), binding.DeepCopy()
		w.must(change())
		w.eventually("back after it was "+what, func() error {
			if err := errors.Join(w.Get(w.Context(), key, &policy), w.Get(w.Context(), key, &binding)); err != nil {
				return err
			}
			if !equality.Semantic.DeepEqual(policy.Spec, goodPolicy.Spec) || !equality.Semantic.DeepEqual(binding.Spec, goodBinding.Spec) {
				return fmt.Errorf("got %v and %v", policy.Spec, binding.Spec)
			}
			return nil
		})
	}
}

func TestCertificatesAreMadeAgain(t *testing.T) {
	w := newWorld(t)
	w.start()
	key := client.ObjectKey{Namespace: system, Name: webhook.Secret}
	var s corev1.Secret
	w.must(w.Get(w.Context(), key, &s))
	if len(s.Data["ca.key"]) > 0 {
		t.Error("the authority's key is kept")
	}
	was := string(s.Data["tls.crt"])
	w.must(w.Delete(w.Context(), &s))
	w.eventually("a new certificate", func() error {
		if err := w.Get(w.Context(), key, &s); err != nil {
			return err
		}
		if string(s.Data["tls.crt"]) == was {
			return errors.New("the same")
		}
		return nil
	})
	w.asks()
	s.Data["tls.crt"] = []byte("nonsense")
	w.must(w.Update(w.Context(), &s))
	w.eventually("a new certificate", func() error {
		if err := w.Get(w.Context(), key, &s); err != nil {
			return err
		}
		if string(s.Data["tls.crt"]) == "nonsense" {
			return errors.New("nonsense")
		}
		return nil
	})
	w.asks()
}

// Certificates are exchanged all the time while Pods are created: none is refused.
func TestRotationUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	address := freeAddress(t)
	// The certificate is due for renewal as soon as it is made.
	w.replica(address, "https://"+address, webhook.Times{Valid: 2 * time.Hour, Renew: 2 * time.Hour, Settle: time.Second})
	w.asks()
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	var created atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				p := w.marked(fmt.Sprintf("load-%d-%d", i, n))
				if err := w.Create(t.Context(), p, client.DryRunAll); err != nil {
					t.Errorf("%s: %v", p.Name, err)
				} else if p.Labels[v1alpha1.LabelClaim] == "" {
					t.Errorf("%s: not rewritten", p.Name)
				}
				created.Add(1)
			}
		})
	}
	seen := map[string]bool{}
	w.eventually("five exchanges", func() error {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only looked at
		if err != nil {
			return err
		}
		defer conn.Close()
		seen[conn.ConnectionState().PeerCertificates[0].SerialNumber.String()] = true
		if len(seen) < 6 {
			return fmt.Errorf("%d certificates", len(seen))
		}
		return nil
	})
	enough()
	wg.Wait()
	t.Logf("%d Pods, %d certificates", created.Load(), len(seen))
}

// Two replicas: the one that does not lead answers too, and takes over.
func TestSecondReplica(t *testing.T) {
	w := newWorld(t)
	w.pool("xcode", "darwin", "arm64", nil)
	f := newFront(t)
	first, second := freeAddress(t), freeAddress(t)
	leader := w.replica(first, "https://"+f.address, webhook.Times{})
	w.eventually("the first replica is ready", leader.ready)
	other := w.replica(second, "https://"+f.address, webhook.Times{})
	w.eventually("the second replica is ready", other.ready)
	f.to.Store(&second)
	w.asks()
	w.must(w.Create(t.Context(), w.marked("by-the-second")))

	leader.stop()
	w.must(w.Create(t.Context(), w.marked("while-nobody-leads")))
	c, err := w.configuration()
	w.must(err)
	w.must(w.Delete(t.Context(), c))
	w.asks()
	if err := leader.ready(); err == nil {
		t.Error("a replica that has stopped says that it is ready")
	}
}

// A replica without a certificate is not ready, and says why.
func TestNotReadyWithoutCertificate(t *testing.T) {
	w := newWorld(t)
	hook, err := webhook.New(webhook.Options{Namespace: system, Address: freeAddress(t)})
	w.must(err)
	r := &replica{hook: hook}
	if err := r.ready(); err == nil || err.Error() != "webhook: Secret outrigger-webhook-cert: the replica that leads has not written it yet" {
		t.Errorf("ready: %v", err)
	}
}

// A front is a Service: it leads connections to one of the replicas.
type front struct {
	address string
	to      atomic.Pointer[string]
}

func newFront(t *testing.T) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{address: l.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		open = append(open, c)
	}
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			keep(in)
			to := f.to.Load()
			if to == nil {
				in.Close()
				continue
			}
			out, err := net.Dial("tcp", *to)
			if err != nil {
				in.Close()
				continue
			}
			keep(out)
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				wg.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // either end may go at any time
					pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return f
}
