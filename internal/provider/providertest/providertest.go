// Package providertest is the contract of [provider.Provider], executable. A
// provider's test calls [Run] with a way to make a fresh place.
package providertest

import (
	"testing"

	"outrigger.dev/outrigger/internal/provider"
)

// A Place is what a provider under test stands on.
type Place struct {
	// Open returns a new provider on the same place, as a new process would
	// open it. It must share no memory with those opened before.
	Open func(t *testing.T) provider.Provider
	// Max is how many machines the place holds at once; 0 means more than the test needs (4).
	Max int
	// Left returns what is left on the place when no machine should be; nil means nothing to check.
	Left func(t *testing.T) []string
}

// Run checks the contract on a place that is made fresh for each part.
func Run(t *testing.T, place func(t *testing.T) Place) {
	t.Skip("not there yet")
}
