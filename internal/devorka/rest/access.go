package rest

import (
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/store"
	"outrigger.dev/outrigger/internal/devorka/token"
)

// tokenLife is that of a service account's token unless the request says otherwise.
const tokenLife = 8760 * time.Hour

func (s *server) accessRoutes(mux *http.ServeMux) {
	const n = "/api/v1/namespaces/{ns}"
	s.handle(mux, "POST "+n+"/serviceaccounts/{name}", store.ServiceAccounts, "", func(c *call) error {
		if _, err := s.Access.CreateAccount(&store.Object{ObjectMeta: meta(c.ns, c.name())}); err != nil {
			return err
		}
		return c.json(map[string]string{"name": c.name(), "namespace": c.ns})
	})
	s.handle(mux, "DELETE "+n+"/serviceaccounts/{name}", store.ServiceAccounts, "", func(c *call) error {
		_, err := s.Store.Delete(store.ServiceAccounts, c.ns, c.name())
		return err
	})
	s.handle(mux, "POST "+n+"/serviceaccounts/{name}/token", store.ServiceAccounts, "", s.issue)
	const subjects = n + "/rolebindings/orka-dev/subjects"
	s.handleAs(mux, "POST "+subjects+"/add", "", "rolebindings", "update", s.subjects(s.Access.Bind))
	s.handleAs(mux, "DELETE "+subjects+"/remove", "", "rolebindings", "update", s.subjects(s.Access.Unbind))
	s.credentialRoutes(mux, n+"/secrets/registrycredentials")
}

// issue makes a token. The documentation shows an empty request; duration is the
// CLI's word for what it sends.
func (s *server) issue(c *call) error {
	var req struct {
		Duration          string
		ExpirationSeconds int64
		NoExpiration      bool
	}
	if err := c.read(&req); err != nil {
		return err
	}
	ttl := tokenLife
	switch {
	case req.NoExpiration:
		ttl = 0
	case req.ExpirationSeconds > 0:
		ttl = time.Duration(req.ExpirationSeconds) * time.Second
	case req.Duration != "":
		d, err := time.ParseDuration(req.Duration)
		if err != nil || d <= 0 {
			return failed(http.StatusBadRequest, metav1.StatusReasonBadRequest, "duration %q is not one like 24h", req.Duration)
		}
		ttl = d
	}
	text, _, err := s.Access.Issue(c.ns, c.name(), ttl)
	if err != nil {
		return err
	}
	return c.json(map[string]string{"token": text})
}

// subjects grants or revokes the role orka-dev.
func (s *server) subjects(change func(role, namespace, user string) error) func(*call) error {
	return func(c *call) error {
		var req struct {
			Users           []string
			ServiceAccounts []struct{ Name, Namespace string }
		}
		if err := c.read(&req); err != nil {
			return err
		}
		users := req.Users
		for _, sa := range req.ServiceAccounts {
			if sa.Namespace == "" {
				sa.Namespace = c.ns
			}
			users = append(users, token.User(sa.Namespace, sa.Name))
		}
		for _, u := range users {
			if err := change(access.Dev, c.ns, u); err != nil {
				return err
			}
		}
		return c.done()
	}
}

// credentialRoutes keep the logins of registries. Pushes go to registries that this
// cluster plays itself, so nobody checks them.
func (s *server) credentialRoutes(mux *http.ServeMux, path string) {
	s.handleAs(mux, "GET "+path, "", "secrets", "list", func(c *call) error {
		all, _ := s.Store.List(store.Credentials, c.ns)
		return list(c, all, func(o *store.Object) map[string]any {
			spec := store.Spec[store.CredentialSpec](o)
			return map[string]any{"server": spec.Server, "username": spec.Username, "allowInsecure": spec.AllowInsecure}
		})
	})
	s.handleAs(mux, "POST "+path+"/add", "", "secrets", "create", func(c *call) error {
		var req struct {
			store.CredentialSpec
			Replace bool `json:"replace"`
		}
		if err := c.read(&req); err != nil {
			return err
		}
		if req.Server == "" || req.Username == "" {
			return failed(http.StatusBadRequest, metav1.StatusReasonBadRequest, "server and username are required")
		}
		o := &store.Object{ObjectMeta: meta(c.ns, req.Server), Spec: &req.CredentialSpec}
		_, err := s.Store.Create(store.Credentials, o)
		if err != nil && req.Replace {
			_, err = s.Store.Update(store.Credentials, c.ns, req.Server, func(o *store.Object) error {
				o.Spec = &req.CredentialSpec
				return nil
			})
		}
		if err != nil {
			return err
		}
		return c.done()
	})
	s.handleAs(mux, "DELETE "+path+"/remove", "", "secrets", "delete", func(c *call) error {
		var req struct{ Server string }
		if err := c.read(&req); err != nil {
			return err
		}
		if _, err := s.Store.Delete(store.Credentials, c.ns, req.Server); err != nil {
			return err
		}
		return c.done()
	})
}
