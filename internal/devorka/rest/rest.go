// Package rest is the REST door of an Orka 3 cluster: /api/v1/… with bearer tokens.
//
// Endpoints, fields and status codes are those of MacStadium's API quick start, API
// reference and 2.4-to-3.0 mapping, and what published clients send and accept. A call that
// the documentation lists and this door cannot serve answers 501 and says why.
package rest

import (
	"log/slog"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/door"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// ClusterInfo is the answer of cluster-info.
type ClusterInfo struct {
	APIDomain             string `json:"apiDomain"`
	APIEndpoint           string `json:"apiEndpoint"`
	AppClientID           string `json:"appClientId"`
	BaseOauthEndpoint     string `json:"baseOauthEndpoint"`
	CertData              string `json:"certData"` // the CA as PEM text
	GPUPassthroughEnabled bool   `json:"gpuPassthroughEnabled"`
}

// A Config says what the door opens to.
type Config struct {
	Store    *store.Store
	Operator *operator.Operator
	Access   *access.Access
	Faults   *inject.Faults
	Doubts   operator.Doubts
	Info     ClusterInfo
	// DeployTimeout is that of a deploy that gives none: 10 minutes. Minute is how
	// long one of those that a deploy gives lasts, for tests that have none.
	DeployTimeout, Minute time.Duration
	Log                   *slog.Logger
}

type server struct {
	Config
	calls []string // METHOD /path/{pattern} of all, for the page of them
}

// A call is one request of somebody who may make it.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	user access.User
	ns   string
}

// New returns the door.
func New(cfg Config) http.Handler {
	s := &server{Config: cfg}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/cluster-info", func(w http.ResponseWriter, _ *http.Request) { door.JSON(w, http.StatusOK, s.Info) })
	s.vmRoutes(mux)
	s.objectRoutes(mux)
	s.imageRoutes(mux)
	s.accessRoutes(mux)
	s.publicRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.Access.Who(r); err != nil {
			door.Fail(w, err)
			return
		}
		door.Fail(w, &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
			Message: "the server could not find the requested resource",
		}})
	})
	return door.Faulty("rest", cfg.Faults, cfg.Log, mux)
}

// verbs of Kubernetes for the methods of HTTP.
var verbs = map[string]string{http.MethodPost: "create", http.MethodDelete: "delete", http.MethodGet: "get"}

// handle serves a pattern for those who may do that with the resource.
func (s *server) handle(mux *http.ServeMux, pattern string, k *store.Kind, verb string, f func(*call) error) {
	s.handleAs(mux, pattern, k.Group, k.Plural, verb, f)
}

func (s *server) handleAs(mux *http.ServeMux, pattern, group, resource, verb string, f func(*call) error) {
	s.calls = append(s.calls, pattern)
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w, r: r, ns: r.PathValue("ns")}
		var err error
		if c.user, err = s.Access.Who(r); err != nil {
			door.Fail(w, err)
			return
		}
		v := verb
		if v == "" {
			v = verbs[r.Method]
		}
		err = s.Access.Allow(c.user, access.Request{Verb: v, Group: group, Resource: resource, Namespace: c.ns, Name: r.PathValue("name")})
		if err == nil {
			err = f(c)
		}
		if err != nil {
			door.Fail(w, err)
		}
	})
}

func (c *call) name() string { return c.r.PathValue("name") }

func (c *call) read(v any) error { return door.Read(c.w, c.r, v) }

func (c *call) json(v any) error {
	door.JSON(c.w, http.StatusOK, v)
	return nil
}

func (c *call) done() error {
	door.Done(c.w, nil)
	return nil
}

// items is how this door lists.
type items[T any] struct {
	Items []T `json:"items"`
}

func list[T any](c *call, all []*store.Object, item func(*store.Object) T) error {
	out := items[T]{Items: []T{}}
	for _, o := range all {
		out.Items = append(out.Items, item(o))
	}
	return c.json(out)
}

// notHere answers a documented call that this cluster cannot serve.
func notHere(why string) func(*call) error {
	return func(*call) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusNotImplemented, Reason: "NotImplemented", Message: "outrigger dev orka: " + why,
		}}
	}
}

// nameOf labels objects that this door makes.
func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

const defaultNamespace = orkav1.DefaultNamespace
