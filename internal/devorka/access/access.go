// Package access says who somebody is and what they may do: tokens of service
// accounts, and the roles that Orka has for them.
package access

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
	"outrigger.dev/outrigger/internal/devorka/token"
)

// The roles. The first four are Orka's: the second holds in a namespace, the third makes and deletes namespaces
// and nothing else, the fourth reads Orka's objects everywhere. Viewer stands for whatever read-only role a
// cluster's operators may have made.
const (
	Admin          = "orka-admin"
	Dev            = "orka-dev"
	NamespaceAdmin = "orka-namespace-admin"
	ClusterDev     = "orka-clusterwide-dev"
	Viewer         = "viewer"
)

// Roles are all of them.
var Roles = []string{Admin, Dev, NamespaceAdmin, ClusterDev, Viewer}

// Access answers for one cluster.
type Access struct {
	Store  *store.Store
	Signer *token.Signer
	Now    func() time.Time
}

// A User is somebody who has shown a token.
type User struct {
	Name      string
	Namespace string // of the service account
	Account   string
	UID       string
}

// Unauthorized is what a request without a good token is told.
func Unauthorized() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized, Message: "Unauthorized",
	}}
}

// Who tells who sent a request. A token is as good as its service account: one that
// was deleted, or made anew, has no token.
func (a *Access) Who(r *http.Request) (User, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return User{}, Unauthorized()
	}
	c, err := a.Signer.Check(strings.TrimSpace(text), a.Now())
	if err != nil {
		return User{}, Unauthorized()
	}
	k := c.Kubernetes
	sa, err := a.Store.Get(store.ServiceAccounts, k.Namespace, k.ServiceAccount.Name)
	if err != nil || string(sa.UID) != k.ServiceAccount.UID {
		return User{}, Unauthorized()
	}
	return User{Name: c.Subject, Namespace: k.Namespace, Account: sa.Name, UID: string(sa.UID)}, nil
}

// Issue makes a token for a service account; ttl 0 is for ever.
func (a *Access) Issue(namespace, account string, ttl time.Duration) (string, token.Claims, error) {
	sa, err := a.Store.Get(store.ServiceAccounts, namespace, account)
	if err != nil {
		return "", token.Claims{}, err
	}
	return a.Signer.Issue(namespace, account, string(sa.UID), ttl, a.Now())
}

// A Request is what somebody wants to do.
type Request struct {
	Verb      string // get, list, watch, create, update, patch, delete, deletecollection
	Group     string
	Resource  string // plural, with "/sub" for a sub-resource
	Namespace string // "" all, or none
	Name      string
}

// Allow returns nil or a Forbidden error in the words of Kubernetes.
func (a *Access) Allow(u User, r Request) error {
	if a.may(u, r) {
		return nil
	}
	where := " at the cluster scope"
	if r.Namespace != "" {
		where = fmt.Sprintf(" in the namespace %q", r.Namespace)
	}
	k := store.Kind{Group: r.Group, Plural: strings.Split(r.Resource, "/")[0]}
	return apierrors.NewForbidden(k.Resource(), r.Name,
		fmt.Errorf("User %q cannot %s resource %q in API group %q%s", u.Name, r.Verb, r.Resource, r.Group, where))
}

// May tells whether Allow would.
func (a *Access) May(u User, r Request) bool { return a.may(u, r) }

func (a *Access) may(u User, r Request) bool {
	if r.Group == "authorization.k8s.io" || r.Group == "authentication.k8s.io" {
		return true
	}
	all, _ := a.Store.List(store.Bindings, "")
	for _, b := range all {
		spec := store.Spec[store.BindingSpec](b)
		if slices.Contains(spec.Subjects, u.Name) && grants(spec.Role, b.Namespace, spec.All, r) {
			return true
		}
	}
	return false
}

// grants tells whether a role that was given in a namespace, or in all, allows r.
func grants(role, namespace string, all bool, r Request) bool {
	reads := r.Verb == "get" || r.Verb == "list" || r.Verb == "watch"
	shared := r.Namespace == orkav1.DefaultNamespace && reads && r.Group == orkav1.Group && r.Resource != store.VMs.Plural
	here := all || r.Namespace == namespace
	resource := strings.Split(r.Resource, "/")[0]
	switch role {
	case Admin:
		return true
	case ClusterDev:
		return reads && r.Group == orkav1.Group
	case Dev:
		return (here && dev(resource, reads, r.Group)) || shared
	case NamespaceAdmin:
		return resource == "namespaces" && r.Group == "" && (reads || r.Verb == "create" || r.Verb == "delete")
	case Viewer:
		return reads && (all || here || shared)
	}
	return false
}

// dev is what developers may touch.
func dev(resource string, reads bool, group string) bool {
	switch {
	case group == orkav1.Group && resource == store.Nodes.Plural:
		return reads
	case group == orkav1.Group:
		return true
	case resource == "pods", resource == "namespaces":
		return reads
	case resource == "secrets": // those of registries
		return true
	}
	return false
}

// CreateAccount makes a service account, which is a developer of its namespace from then on.
func (a *Access) CreateAccount(sa *store.Object) (*store.Object, error) {
	if problems := validation.IsDNS1123Subdomain(sa.Name); sa.Name != "" && len(problems) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: store.ServiceAccounts.Kind}, sa.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "name"), sa.Name, strings.Join(problems, ", ")),
		})
	}
	if _, err := a.Store.Get(store.Namespaces, "", sa.Namespace); err != nil {
		return nil, err
	}
	made, err := a.Store.Create(store.ServiceAccounts, sa)
	if err != nil {
		return nil, err
	}
	return made, a.Bind(Dev, made.Namespace, token.User(made.Namespace, made.Name))
}

// Bind gives a user a role in a namespace, in all of them for "".
func (a *Access) Bind(role, namespace, user string) error {
	name := strings.ReplaceAll(role+"-"+namespace, ":", "-")
	spec := func(old []string) *store.BindingSpec {
		if !slices.Contains(old, user) {
			old = append(slices.Clone(old), user)
		}
		return &store.BindingSpec{Role: role, Subjects: old, All: namespace == ""}
	}
	o := &store.Object{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: spec(nil)}
	_, err := a.Store.Create(store.Bindings, o)
	if apierrors.IsAlreadyExists(err) {
		_, err = a.Store.Update(store.Bindings, namespace, name, func(o *store.Object) error {
			o.Spec = spec(store.Spec[store.BindingSpec](o).Subjects)
			return nil
		})
	}
	return err
}

// Unbind takes a role from a user.
func (a *Access) Unbind(role, namespace, user string) error {
	name := strings.ReplaceAll(role+"-"+namespace, ":", "-")
	_, err := a.Store.Update(store.Bindings, namespace, name, func(o *store.Object) error {
		s := store.Spec[store.BindingSpec](o)
		s.Subjects = slices.DeleteFunc(slices.Clone(s.Subjects), func(x string) bool { return x == user })
		return nil
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
