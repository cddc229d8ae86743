package pools

import (
	"fmt"
	"time"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/provider"
)

// tokenSoon is how long before its end a pool warns of its provider's token: a working
// week and the weekend before it.
const tokenSoon = 7 * 24 * time.Hour

// token notes when the token of a pool's provider ends.
func (s *stats) token(p *v1alpha1.MachinePool, place Place) {
	var end time.Time
	if c, ok := provider.As[provider.Credential](place.Provider); ok {
		end, _ = c.TokenExpires()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(p).tokenEnd = end
}

// tokenEnd is when the token ends; zero: it does not say, or there is none.
func (s *stats) tokenEnd(p *v1alpha1.MachinePool) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(p).tokenEnd
}

// tokenCondition judges a token that ends at end. Its words change only with its state.
func tokenCondition(end, now time.Time) (ok bool, reason, message string) {
	when := end.UTC().Format(time.RFC3339)
	switch {
	case !now.Before(end):
		return false, "Ended", fmt.Sprintf("the provider's token ended on %s: put a new one into its Secret", when)
	case end.Sub(now) < tokenSoon:
		return false, "EndsSoon", fmt.Sprintf("the provider's token ends on %s: put a new one into its Secret", when)
	}
	return true, "Valid", "the provider's token ends on " + when
}
