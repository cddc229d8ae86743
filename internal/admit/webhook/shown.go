package webhook

import (
	"context"
	"crypto/tls"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"

	"outrigger.dev/outrigger/internal/fault"
)

// A holder holds the certificate that this replica shows: that of the Secret, as it
// was last seen. The zero holder has none.
type holder struct {
	pair atomic.Pointer[tls.Certificate]
}

func (h *holder) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := h.pair.Load(); pair != nil {
		return pair, nil
	}
	return nil, errNoCertificate
}

var errNoCertificate = fault.New(fault.Busy, "webhook: Secret %s: the replica that leads has not written it yet", Secret)

func (h *holder) ready(now time.Time) error {
	pair := h.pair.Load()
	switch {
	case pair == nil:
		return errNoCertificate
	case now.After(pair.Leaf.NotAfter):
		return fault.New(fault.Busy, "webhook: Secret %s: the certificate expired on %s", Secret, pair.Leaf.NotAfter.Format(time.DateTime))
	}
	return nil
}

// watchSecret shows what the Secret says from now on. Where it is deleted, or says
// nothing that can be used, the last certificate is shown further: it is trusted
// until the replica that leads has written another.
func (w *Webhook) watchSecret(ctx context.Context, mgr ctrl.Manager) error {
	informer, err := mgr.GetCache().GetInformer(ctx, &corev1.Secret{})
	if err != nil {
		return fault.New(fault.Internal, "webhook: %w", err)
	}
	w.caches = append(w.caches, informer)
	see := func(object any) {
		s, ok := object.(*corev1.Secret)
		if !ok || s.Namespace != w.Namespace || s.Name != Secret {
			return
		}
		pair, err := tls.X509KeyPair(s.Data[keyCert], s.Data[keyKey])
		if err != nil {
			w.Log.Warn("webhook's certificate not used", "secret", s.Namespace+"/"+s.Name, "error", err)
			return
		}
		w.shown.pair.Store(&pair)
		w.Log.Info("webhook's certificate", "until", pair.Leaf.NotAfter)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    see,
		UpdateFunc: func(_, object any) { see(object) },
	})
	if err != nil {
		return fault.New(fault.Internal, "webhook: %w", err)
	}
	return nil
}
