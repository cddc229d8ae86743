package handoff

import (
	"encoding/json"

	"outrigger.dev/outrigger/internal/machine"
)

// A step is a [machine.Via] as it is handed over. Tunnels are not: a WireGuard
// key opens a network, and serves one process at a time.
type step struct {
	URL      string `json:"url"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	CA       string `json:"ca,omitempty"`
	Name     string `json:"name,omitempty"`
}

// plainClaim is a Claim without its methods.
type plainClaim Claim

// A document is a Claim as it is written.
type document struct {
	plainClaim
	Via []step `json:"via,omitempty"`
}

// MarshalJSON writes the steps of the endpoint too, secrets included: whoever
// reads a claim is to reach its machine.
func (c Claim) MarshalJSON() ([]byte, error) {
	d := document{plainClaim: plainClaim(c)}
	for _, v := range c.Endpoint.Via {
		d.Via = append(d.Via, step{v.URL, v.User, v.Password.Reveal(), v.CA, v.Name})
	}
	return json.Marshal(d)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Claim) UnmarshalJSON(data []byte) error {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	*c = Claim(d.plainClaim)
	for _, s := range d.Via {
		c.Endpoint.Via = append(c.Endpoint.Via, machine.Via{URL: s.URL, User: s.User, Password: machine.NewSecret(s.Password), CA: s.CA, Name: s.Name})
	}
	return nil
}
