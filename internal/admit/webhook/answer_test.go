package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"outrigger.dev/outrigger/internal/admit"
)

// A deaf API server tells nothing.
type deaf struct{ client.Reader }

func (deaf) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("etcdserver: leader changed")
}

// TestAPodThatCannotBeLookedAt: whoever creates Pods hears what the matter is, and Tekton tries again.
func TestAPodThatCannotBeLookedAt(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	h := &answerer{
		decoder: admission.NewDecoder(scheme), cached: deaf{}, live: deaf{}, relay: admit.Config{RelayImage: "relay:1"},
		log: slog.New(slog.DiscardHandler),
	}
	a := h.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Namespace: "team", Name: "test",
		Object: runtime.RawExtension{Raw: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"test","annotations":{"outrigger.dev/pool":"xcode"}}}`)},
	}})
	text := a.Result.Message
	if a.Allowed || a.Result.Code != http.StatusForbidden || !strings.Contains(text, "leader changed") || !strings.Contains(text, "exceeded quota") {
		t.Errorf("answered %v %d: %s", a.Allowed, a.Result.Code, text)
	}
}
