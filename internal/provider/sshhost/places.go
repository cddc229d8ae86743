package sshhost

import "outrigger.dev/outrigger/internal/machine"

// A Place is one host of a configuration, with everything filled in.
type Place struct {
	Name     string
	Slots    int
	OS       string // as the configuration says; "": it does not
	Endpoint machine.Endpoint
}

// Places returns the hosts in the order of the configuration. It contacts nobody.
func (c Config) Places() ([]Place, error) {
	hosts, err := c.hosts()
	if err != nil {
		return nil, err
	}
	var all []Place
	for _, h := range hosts {
		all = append(all, Place{h.name, h.slots, h.labels["os"], h.endpoint})
	}
	return all, nil
}
