// Package webhook lets the API server ask package admit about each marked Pod.
//
// All replicas of the controller answer. The one that leads also keeps what the
// API server needs to ask: the certificate, in a Secret that all replicas
// share, the MutatingWebhookConfiguration, and the [Policy] for when nobody answers,
// which it puts back when somebody changes or deletes them. Certificates are exchanged without a moment in which one
// is shown that the API server does not trust; see [Pairs].
//
// Who is not marked never waits for this package: the API server itself sees that, by
// the configuration's matchConditions.
package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/admit"
	"outrigger.dev/outrigger/internal/fault"
)

const (
	// Configuration is the name of the MutatingWebhookConfiguration.
	Configuration = "outrigger"
	// Secret is the name of the Secret with the certificates.
	Secret = "outrigger-webhook-cert"
	// Path is where the server is asked.
	Path = "/pods"
)

// Options say how the webhook is reached and what it puts into Pods.
type Options struct {
	Namespace string // of the Secret and the Service
	Address   string // where to listen, "HOST:PORT" or ":PORT"
	URL       string // where the API server reaches it: https, without the path. "": through the Service
	Service   string // name of the Service
	ClientCA  []byte // PEM: only who shows a certificate of it is answered; nil: whoever asks
	Relay     admit.Config
	Times     Times
	Log       *slog.Logger
}

// Times are those of certificates; those that are zero get their defaults.
type Times struct {
	Valid  time.Duration // how long a certificate is valid: 90 days
	Renew  time.Duration // how long before its end the next one is made: 30 days
	Settle time.Duration // how long the next one is announced before it is shown: 1m
}

func (t Times) withDefaults() Times {
	const day = 24 * time.Hour
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{{&t.Valid, 90 * day}, {&t.Renew, 30 * day}, {&t.Settle, time.Minute}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return t
}

// A Webhook answers the API server.
type Webhook struct {
	Options
	server webhook.Server
	shown  holder
	caches []cache.Informer // that an answer needs
}

// New returns the webhook, which does nothing before its server is in a manager
// and Setup was called.
func New(o Options) (*Webhook, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Times = o.Times.withDefaults()
	w := &Webhook{Options: o}
	host, text, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fault.New(fault.Config, "webhook: address %q: want HOST:PORT or :PORT", o.Address)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return nil, fault.New(fault.Config, "webhook: address %q: want a port from 1 to 65535", o.Address)
	}
	var clients *x509.CertPool
	if o.ClientCA != nil {
		clients = x509.NewCertPool()
		if !clients.AppendCertsFromPEM(o.ClientCA) {
			return nil, fault.New(fault.Config, "webhook: the authority of its clients: no certificate in PEM")
		}
	}
	w.server = webhook.NewServer(webhook.Options{Host: host, Port: int(port), TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.MinVersion = tls.VersionTLS12
		c.GetCertificate = w.shown.get
		if clients != nil {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, clients
		}
	}}})
	return w, nil
}

// Server is for the manager's options.
func (w *Webhook) Server() webhook.Server { return w.server }

// Caches is what the manager's cache is to be limited to: of Secrets,
// configurations and policies only ours are seen, and we may not see others.
func Caches(namespace string) map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Secret{}: {
			Namespaces: map[string]cache.Config{namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", Secret)}},
		},
		&admissionv1.MutatingWebhookConfiguration{}:     {Field: fields.OneTermEqualSelector("metadata.name", Configuration)},
		&admissionv1.ValidatingAdmissionPolicy{}:        {Field: fields.OneTermEqualSelector("metadata.name", Policy)},
		&admissionv1.ValidatingAdmissionPolicyBinding{}: {Field: fields.OneTermEqualSelector("metadata.name", Policy)},
	}
}

// Setup adds the webhook to the manager, whose options have its Server and the Caches.
func (w *Webhook) Setup(ctx context.Context, mgr ctrl.Manager) error {
	for _, o := range []client.Object{&v1alpha1.MachinePool{}, &corev1.Namespace{}, &corev1.LimitRange{}} {
		i, err := mgr.GetCache().GetInformer(ctx, o)
		if err != nil {
			return fault.New(fault.Internal, "webhook: %w", err)
		}
		w.caches = append(w.caches, i)
	}
	// Asking the manager for its server is what makes it start it.
	mgr.GetWebhookServer().Register(Path, newGate(&admission.Webhook{
		RecoverPanic: new(true),
		Handler: &answerer{
			decoder: admission.NewDecoder(mgr.GetScheme()), cached: mgr.GetClient(), live: mgr.GetAPIReader(), relay: w.Relay, log: w.Log,
		},
	}))
	if err := w.watchSecret(ctx, mgr); err != nil {
		return err
	}
	return w.setupKeeper(mgr)
}

// Ready tells whether the API server can be answered: the server listens, it has a
// certificate to show, and pools and namespaces are known.
func (w *Webhook) Ready(r *http.Request) error {
	if err := w.shown.ready(time.Now()); err != nil {
		return err
	}
	for _, c := range w.caches {
		if !c.HasSynced() {
			return fault.New(fault.Busy, "webhook: pools and namespaces are being read")
		}
	}
	return w.server.StartedChecker()(r)
}
