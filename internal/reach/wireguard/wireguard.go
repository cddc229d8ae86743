// Package wireguard carries TCP connections through WireGuard tunnels inside of
// this process: no device of the system, no route, no privilege.
//
// A WireGuard key is one peer with one address. Two processes that use the same
// configuration at a time take each other's answers away; within a process all
// connections share one tunnel.
package wireguard

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// Tunnels are those of a process. The zero value has none yet; they are opened at
// first use and stay until Close.
type Tunnels struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]*tunnel
}

// Dial connects to address inside of the tunnel that conf describes, as
// wg-quick(8) writes it. Names are resolved by its DNS servers, without any by
// this computer's.
func (ts *Tunnels) Dial(ctx context.Context, conf machine.Secret, network, address string) (net.Conn, error) {
	t, err := ts.tunnel(ctx, conf)
	if err != nil {
		return nil, err
	}
	return t.dial(ctx, network, address)
}

// Close ends all tunnels and the connections in them.
func (ts *Tunnels) Close() error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.open {
		t.device.Close()
	}
	ts.open = nil
	return nil
}

func (ts *Tunnels) tunnel(ctx context.Context, conf machine.Secret) (*tunnel, error) {
	key := sha256.Sum256([]byte(conf.Reveal()))
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t, ok := ts.open[key]; ok {
		return t, nil
	}
	c, err := Parse(conf.Reveal())
	if err != nil {
		return nil, err
	}
	t, err := up(ctx, c)
	if err != nil {
		return nil, err
	}
	if ts.open == nil {
		ts.open = map[[sha256.Size]byte]*tunnel{}
	}
	ts.open[key] = t
	return t, nil
}

// A tunnel is one that is up. Nothing is sent until somebody dials.
type tunnel struct {
	conf   *Conf
	device *device.Device
	net    *netstack.Net
}

func up(ctx context.Context, c *Conf) (*tunnel, error) {
	settings, err := c.settings(ctx)
	if err != nil {
		return nil, err
	}
	tun, stack, err := netstack.CreateNetTUN(c.Addresses, c.DNS, c.MTU)
	if err != nil {
		return nil, fault.New(fault.Internal, "WireGuard: %w", err)
	}
	quiet := &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	dev := device.NewDevice(tun, conn.NewDefaultBind(), quiet)
	if err := dev.IpcSet(settings); err != nil {
		dev.Close()
		// The error may quote a key.
		return nil, fault.New(fault.Config, "WireGuard: the configuration is not accepted").WithRemedy("Try it with: wg-quick strip FILE | wg setconf")
	}
	if err := dev.Up(); err != nil {
		dev.Close()
		return nil, fault.New(fault.Unreachable, "WireGuard: %w", err)
	}
	return &tunnel{c, dev, stack}, nil
}

// dialLimit bounds one attempt, three times as long as a handshake waits to be
// repeated. It is shorter than package reach's, so that we tell why there is no answer.
const dialLimit = 15 * time.Second

func (t *tunnel) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fault.New(fault.Config, "WireGuard: %q is no address", address)
	}
	ips, err := t.resolve(ctx, host)
	if err != nil {
		return nil, fault.New(fault.Unreachable, "WireGuard: name %q: %w", host, err)
	}
	var last error
	for _, ip := range ips {
		if !t.conf.routes(ip) {
			if last == nil {
				last = fault.New(fault.RouteRefused, "WireGuard: %s is in no peer's AllowedIPs (%s)", ip, t.conf.allowed())
			}
			continue
		}
		c, err := t.net.DialContext(ctx, network, net.JoinHostPort(ip.String(), port))
		if err == nil {
			return c, nil
		}
		last = fault.New(fault.Unreachable, "WireGuard: %s: %w%s", address, err, t.silent())
	}
	return nil, last
}

func (t *tunnel) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	if len(t.conf.DNS) == 0 {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	texts, err := t.net.LookupContextHost(ctx, host)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	for _, s := range texts {
		if ip, err := netip.ParseAddr(s); err == nil {
			ips = append(ips, ip)
		}
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("has no address")
	}
	return ips, nil
}

// silent tells if no peer has ever answered: then keys or the endpoint are
// wrong, not what is behind it.
func (t *tunnel) silent() string {
	state, err := t.device.IpcGet()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(state) {
		v, ok := strings.CutPrefix(strings.TrimSpace(line), "last_handshake_time_sec=")
		if n, err := strconv.ParseInt(v, 10, 64); ok && err == nil && n > 0 {
			return ""
		}
	}
	return ": no peer has answered so far: is Endpoint right, and does the peer know our key?"
}
