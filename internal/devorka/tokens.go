package devorka

import (
	"slices"
	"time"

	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
	"outrigger.dev/outrigger/internal/devorka/token"
)

// A Grant says what a token is good for.
type Grant struct {
	Role      string        // one of access.Roles; "": none at all
	Namespace string        // of the role; "" orka-default
	TTL       time.Duration // 0: a year
	Forever   bool          // a token without exp
}

// Token makes a service account with a role and returns a token of it.
func (s *Server) Token(g Grant) (string, error) {
	set(&g.Namespace, orkav1.DefaultNamespace)
	set(&g.TTL, 8760*time.Hour)
	if g.Forever {
		g.TTL = 0
	}
	name := "dev"
	if g.Role != "" {
		name = g.Role
	}
	name += "-" + store.Suffix()
	if _, err := s.store.Create(store.ServiceAccounts, object(g.Namespace, name)); err != nil {
		return "", err
	}
	if g.Role != "" {
		where := g.Namespace
		if slices.Contains([]string{access.Admin, access.ClusterDev, access.NamespaceAdmin}, g.Role) {
			where = ""
		}
		if err := s.access.Bind(g.Role, where, token.User(g.Namespace, name)); err != nil {
			return "", err
		}
	}
	text, _, err := s.access.Issue(g.Namespace, name, g.TTL)
	return text, err
}

// RotateKeys voids every token that there is, as some upgrades do.
func (s *Server) RotateKeys() error { return s.signer.Rotate() }
