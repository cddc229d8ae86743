package via

import (
	"net/url"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A Step is a [machine.Via] as configuration files write it. Whoever reads the file
// fills in the secrets. One of URL, WireGuard and Hub is set.
type Step struct {
	URL       string `yaml:"url"`       // socks5://HOST:PORT, http://HOST:PORT, https://HOST:PORT
	WireGuard string `yaml:"wireguard"` // a file as wg-quick reads it
	Hub       string `yaml:"hub"`       // https://HOST:PORT of a hub; the password is a pass
	Network   string `yaml:"network"`   // of the hub
	User      string `yaml:"user"`      // of the proxy
	CAFile    string `yaml:"caFile"`    // who vouches for the proxy or hub; "": the system's authorities

	// At most one of these.
	PasswordFile    string   `yaml:"passwordFile"`
	PasswordEnv     string   `yaml:"passwordEnv"`
	PasswordCommand []string `yaml:"passwordCommand"`

	Password machine.Secret `yaml:"-"`
	CA       string         `yaml:"-"` // what CAFile holds
	Tunnel   machine.Secret `yaml:"-"` // what the WireGuard file holds
}

// Check tells what is wrong with the step as it is written.
func (s Step) Check() error {
	set := 0
	for _, v := range []string{s.URL, s.WireGuard, s.Hub} {
		if v != "" {
			set++
		}
	}
	switch {
	case set != 1:
		return fault.New(fault.Config, "names %d ways: want exactly one of url, hub, wireguard", set)
	case s.WireGuard != "" && (s.User != "" || s.Network != "" || s.CAFile != "" || s.hasPassword()):
		return fault.New(fault.Config, "wireguard: its file holds everything: no user, password, network or caFile belongs beside it")
	case s.WireGuard != "":
		return nil
	case s.Hub != "" && s.Network == "":
		return fault.New(fault.Config, "hub %s: names no network", s.Hub)
	case s.Hub == "" && s.Network != "":
		return fault.New(fault.Config, "network %q: only a hub has networks", s.Network)
	case s.Hub != "" && s.User != "":
		return fault.New(fault.Config, "hub %s: takes no user: the network stands in its place", s.Hub)
	case s.Hub != "" && !s.hasPassword():
		return fault.New(fault.Config, "hub %s: has no pass: want one of passwordFile, passwordEnv, passwordCommand", s.Hub)
	}
	if u, err := url.Parse(s.Hub); s.Hub != "" && (err != nil || u.Scheme != "https") {
		return fault.New(fault.Config, "hub %q: want https://HOST:PORT", s.Hub)
	}
	_, err := parse(machine.Via{URL: s.URL + s.Hub})
	return err
}

func (s Step) hasPassword() bool {
	return s.PasswordFile != "" || s.PasswordEnv != "" || len(s.PasswordCommand) > 0
}

// Via returns the step as it is dialled.
func (s Step) Via() machine.Via {
	switch {
	case s.WireGuard != "":
		return machine.Via{WireGuard: s.Tunnel, Name: "WireGuard " + s.WireGuard}
	case s.Hub != "":
		return Hub(s.Hub, s.Network, s.Password, s.CA)
	}
	return machine.Via{URL: s.URL, User: s.User, Password: s.Password, CA: s.CA}
}

// Hub is the step to a network of a hub.
func Hub(address, network string, pass machine.Secret, ca string) machine.Via {
	return machine.Via{URL: address, User: network, Password: pass, CA: ca, Name: "network " + network + " of hub " + address}
}

// Vias returns the steps as they are dialled, nil for none.
func Vias(steps []Step) []machine.Via {
	var out []machine.Via
	for _, s := range steps {
		out = append(out, s.Via())
	}
	return out
}
