// Package kube is the Kubernetes door of an Orka 3 cluster: an API server for the
// objects of orka.macstadium.com/v1 and the few of Kubernetes that clients of
// Orka look at.
//
// It speaks the protocol that kubectl, client-go and plain HTTP clients use: discovery,
// get, list, create, update, merge patches, delete, watches with resourceVersions,
// bookmarks and initial events, label and field selectors, tables, Status errors, and
// protobuf for Kubernetes' own kinds. It lacks server-side apply, JSON patches and paging;
// docs/design/orka.md says why it is not the test bed's kube-apiserver.
package kube

import (
	"log/slog"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/door"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// A Config says what the door opens to.
type Config struct {
	Store    *store.Store
	Operator *operator.Operator
	Access   *access.Access
	Faults   *inject.Faults
	Log      *slog.Logger
}

type server struct{ Config }

// New returns the door.
func New(cfg Config) http.Handler {
	s := &server{cfg}
	return door.Faulty("kube", cfg.Faults, cfg.Log, http.HandlerFunc(s.serve))
}

// A call is one request for objects.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	user      access.User
	kind      *store.Kind
	namespace string
	name      string
	sub       string // sub-resource
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz", "/livez", "/readyz":
		_, _ = w.Write([]byte("ok"))
		return
	case "/version":
		door.JSON(w, http.StatusOK, version)
		return
	}
	user, err := s.Access.Who(r)
	if err != nil {
		door.Fail(w, err)
		return
	}
	if s.discover(w, r) {
		return
	}
	c := &call{w: w, r: r, user: user}
	if !c.parse() {
		door.Fail(w, missing())
		return
	}
	if err := s.objects(c); err != nil {
		door.Fail(w, err)
	}
}

func missing() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{},
	}}
}

// parse finds what a path speaks of: /api/v1/… and /apis/GROUP/VERSION/…
func (c *call) parse() bool {
	parts := strings.Split(strings.Trim(c.r.URL.Path, "/"), "/")
	var group, version string
	switch {
	case len(parts) > 2 && parts[0] == "api":
		version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, version, parts = parts[1], parts[2], parts[3:]
	default:
		return false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		c.namespace, parts = parts[1], parts[2:]
	}
	if group == "authorization.k8s.io" || group == "authentication.k8s.io" {
		c.kind = &store.Kind{Group: group, Version: version, Plural: parts[0]}
		return version == "v1" && len(parts) == 1
	}
	k, ok := store.Lookup(group, parts[0])
	if !ok || k.Hidden || k.Version != version || len(parts) > 3 || (c.namespace != "" && !k.Namespaced) {
		return false
	}
	c.kind = k
	if len(parts) > 1 {
		c.name = parts[1]
	}
	if len(parts) > 2 {
		c.sub = parts[2]
	}
	if c.name != "" && k.Namespaced && c.namespace == "" {
		return false
	}
	return c.sub == "" || (c.sub == "status" && k.HasStatus) || (c.sub == "token" && k == store.ServiceAccounts)
}

func (c *call) watches() bool {
	v := c.r.URL.Query().Get("watch")
	return v == "true" || v == "1"
}

// verb is what of RBAC a request needs.
func (c *call) verb() string {
	switch c.r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if c.name == "" {
			return "deletecollection"
		}
		return "delete"
	}
	switch {
	case c.name != "":
		return "get"
	case c.watches():
		return "watch"
	}
	return "list"
}

func (s *server) objects(c *call) error {
	resource := c.kind.Plural
	if c.sub != "" {
		resource += "/" + c.sub
	}
	err := s.Access.Allow(c.user, access.Request{Verb: c.verb(), Group: c.kind.Group, Resource: resource, Namespace: c.namespace, Name: c.name})
	if err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(c.kind.Group, "auth"):
		return s.review(c)
	case c.sub == "token" && c.r.Method == http.MethodPost:
		return s.issue(c)
	case c.r.Method == http.MethodGet && c.name != "":
		return s.get(c)
	case c.r.Method == http.MethodGet && c.watches():
		return s.watch(c)
	case c.r.Method == http.MethodGet:
		return s.list(c)
	case c.r.Method == http.MethodPost && c.name == "":
		return s.create(c)
	case c.r.Method == http.MethodPut && c.name != "":
		return s.update(c)
	case c.r.Method == http.MethodPatch && c.name != "":
		return s.patch(c)
	case c.r.Method == http.MethodDelete && c.name != "":
		return s.delete(c)
	case c.r.Method == http.MethodDelete:
		return s.deleteAll(c)
	}
	return apierrors.NewMethodNotSupported(c.kind.Resource(), strings.ToLower(c.r.Method))
}
