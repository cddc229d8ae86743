// Package creds holds the two credentials around a hub: the token by which an
// outpost proves itself, and the pass by which a client may ask for addresses.
//
// The hub stores neither: of tokens it has digests, of passes the public half
// of the key that signs them. So what lies on a hub's disk opens nothing.
package creds

import (
	"fmt"

	"outrigger.dev/outrigger/internal/machine"
)

// An Outpost is named by its network and its own name in it.
type Outpost struct{ Network, Name string }

// String returns "network/name".
func (o Outpost) String() string { return o.Network + "/" + o.Name }

// CheckLabel wants a DNS label: the name of a network or an outpost.
func CheckLabel(what, s string) error {
	if _, err := machine.ParseName(s); err != nil {
		return fmt.Errorf("%s %q: want at most 63 of a-z, 0-9 and \"-\", starting and ending with a letter or digit", what, s)
	}
	return nil
}
