package operator

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// The ports that MacStadium tells its users to open, and those that a VM has
// in bridge mode.
const (
	sshFirst, sshLast       = 8822, 9122
	screenFirst, screenLast = 5901, 6200 // 5900 is the node's own
	vncFirst, vncLast       = 5999, 6299
	bridgeSSH, bridgeScreen = 22, 5900
	bridgeVNCFirst          = 6000
)

// A Network hands out addresses and ports. What is handed out is free: nobody
// else listens there.
type Network struct {
	// Bridge gives each VM an address of its own, as Orka 3.5 can.
	Bridge bool
	// VMAddress is that of the n-th VM in bridge mode.
	VMAddress func(n int) string

	mu   sync.Mutex
	used map[string]bool // "address:port", in bridge mode also "address"
}

// Ports are those of one VM.
type Ports struct {
	Address          string // to dial
	SSH, Screen, VNC int    // VNC is 0 without a console
}

var errNoPort = errors.New("no port is left in the range")

// take takes ports for a VM on the node at host, one for its console if it has any.
func (n *Network) take(host string, console bool) (p Ports, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.used == nil {
		n.used = map[string]bool{}
	}
	defer func() {
		if err != nil {
			n.drop(host, p)
		}
	}()
	if n.Bridge {
		if p.Address, err = n.address(); err != nil {
			return p, err
		}
		p.SSH, p.Screen = bridgeSSH, bridgeScreen
		if console {
			p.VNC, err = n.port(host, bridgeVNCFirst, vncLast)
		}
		return p, err
	}
	p.Address = host
	if p.SSH, err = n.port(host, sshFirst, sshLast); err != nil {
		return p, err
	}
	if p.Screen, err = n.port(host, screenFirst, screenLast); err != nil {
		return p, err
	}
	if console {
		p.VNC, err = n.port(host, vncFirst, vncLast)
	}
	return p, err
}

// give gives back what take took.
func (n *Network) give(host string, p Ports) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop(host, p)
}

func (n *Network) drop(host string, p Ports) {
	if n.Bridge {
		delete(n.used, p.Address)
	} else {
		delete(n.used, join(host, p.SSH))
		delete(n.used, join(host, p.Screen))
	}
	delete(n.used, join(host, p.VNC))
}

// claim takes one port of the node's, for reservedPorts.
func (n *Network) claim(host string, port int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.try(join(host, port))
}

func (n *Network) unclaim(host string, port int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, join(host, port))
}

// keep marks what a VM of an earlier process has.
func (n *Network) keep(host string, p Ports) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.used == nil {
		n.used = map[string]bool{}
	}
	if n.Bridge {
		n.used[p.Address] = true
	} else {
		n.used[join(host, p.SSH)] = true
		n.used[join(host, p.Screen)] = true
	}
	n.used[join(host, p.VNC)] = true
}

func (n *Network) address() (string, error) {
	var last error
	for i := range 200 {
		a := n.VMAddress(i)
		if n.used[a] {
			continue
		}
		if last = n.free(join(a, bridgeSSH)); last == nil {
			n.used[a] = true
			return a, nil
		}
	}
	return "", fmt.Errorf("no address is left for a VM: %w", last)
}

func (n *Network) port(host string, first, last int) (int, error) {
	for p := first; p <= last; p++ {
		if n.try(join(host, p)) == nil {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%s: %d to %d: %w", host, first, last, errNoPort)
}

func (n *Network) try(addr string) error {
	if n.used[addr] {
		return fmt.Errorf("%s is taken", addr)
	}
	if err := n.free(addr); err != nil {
		return err
	}
	n.used[addr] = true
	return nil
}

// free tells whether somebody listens at addr, another cluster's VM perhaps.
func (n *Network) free(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return ln.Close()
}

func join(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
