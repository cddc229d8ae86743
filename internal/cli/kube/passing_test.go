package kube

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
)

// status is an API server's answer that is no object.
func status(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}

// cluster is a client of a server that answers so.
func cluster(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	name := filepath.Join(t.TempDir(), "kubeconfig")
	config := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: " + s.URL + "}}]\n" +
		"contexts: [{name: c, context: {cluster: c, user: u}}]\ncurrent-context: c\nusers: [{name: u, user: {token: t}}]\n"
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := (&Flags{Kubeconfig: name}).Open()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatSaysNothingOfTheRequest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   fault.Kind
	}{
		{"etcd has no leader", func(w http.ResponseWriter, _ *http.Request) {
			status(w, 500, "", "etcdserver: leader changed")
		}, fault.Unreachable},
		{"etcd is slow", func(w http.ResponseWriter, _ *http.Request) {
			status(w, 500, "InternalError", "etcdserver: request timed out")
		}, fault.Unreachable},
		{"a time limit", func(w http.ResponseWriter, _ *http.Request) { status(w, 504, "Timeout", "request timed out") }, fault.Unreachable},
		{"a load balancer", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>Bad Gateway", http.StatusBadGateway)
		}, fault.Unreachable},
		{"a start", func(w http.ResponseWriter, _ *http.Request) { status(w, 503, "ServiceUnavailable", "starting") }, fault.Unreachable},
		{"too many", func(w http.ResponseWriter, _ *http.Request) { status(w, 429, "TooManyRequests", "later") }, fault.Unreachable},
		{"a reset", func(w http.ResponseWriter, _ *http.Request) { hangUp(t, w, "") }, fault.Unreachable},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			hangUp(t, w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"kind\":")
		}, fault.Unreachable},
		{"a refusal", func(w http.ResponseWriter, _ *http.Request) { status(w, 403, "Forbidden", "no") }, fault.AuthRefused},
		{"a mistake", func(w http.ResponseWriter, _ *http.Request) { status(w, 422, "Invalid", "no") }, fault.Protocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := cluster(t, tt.answer).Pools(t.Context()); !fault.Is(err, tt.want) {
				t.Errorf("%s: %v, want %s", fault.Of(err), err, tt.want)
			}
		})
	}
}

// hangUp answers with text and a reset.
func hangUp(t *testing.T, w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = conn.Write([]byte(text))      // the other side may be gone, which is what is tested
	_ = conn.(*net.TCPConn).SetLinger(0) // so that it is a reset
	conn.Close()
}

func TestAClaimIsMadeOnceThroughAHiccup(t *testing.T) {
	var asked atomic.Int32
	c := cluster(t, func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case n == 1: // it was made, and the answer is lost
			status(w, 500, "", "etcdserver: request timed out")
		case r.Method == http.MethodPost:
			status(w, 409, "AlreadyExists", "exists")
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"apiVersion":"outrigger.dev/v1alpha1","kind":"MachineClaim","metadata":{"name":"a","namespace":"team","uid":"u"}}`)
		}
	})
	claimer := Claimer{Client: c, Claim: &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "a"}}}
	if err := claimer.Make(t.Context()); err != nil || claimer.Claim.UID != "u" {
		t.Errorf("%+v, %v", claimer.Claim, err)
	}
}
