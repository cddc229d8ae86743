package wireguard

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

// A Conf is what a configuration of wg-quick(8) says.
type Conf struct {
	Addresses []netip.Addr // ours, inside
	DNS       []netip.Addr
	MTU       int
	key       string // hex
	port      string
	peers     []peer
}

type peer struct {
	key, preshared string // hex
	endpoint       string // "host:port"
	allowed        []netip.Prefix
	keepalive      string
}

// defaultMTU is wg-quick's for an Ethernet below.
const defaultMTU = 1420

// hostOnly are keys that make wg-quick change the computer: nothing is changed here.
var hostOnly = map[string]bool{
	"table": true, "preup": true, "postup": true, "predown": true, "postdown": true, "saveconfig": true, "fwmark": true,
}

// Parse reads a configuration. Its errors hold none of its text but names of keys.
func Parse(text string) (*Conf, error) {
	c := &Conf{MTU: defaultMTU}
	section := ""
	s := bufio.NewScanner(strings.NewReader(text))
	for n := 1; s.Scan(); n++ {
		line, _, _ := strings.Cut(s.Text(), "#")
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "["):
			section = strings.ToLower(line)
			if section == "[peer]" {
				c.peers = append(c.peers, peer{})
			} else if section != "[interface]" {
				return nil, wrong("line %d: want [Interface] or [Peer]", n)
			}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, wrong("line %d: want KEY = VALUE", n)
		}
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		var err error
		switch section {
		case "[interface]":
			err = c.set(key, value)
		case "[peer]":
			err = c.peers[len(c.peers)-1].set(key, value)
		default:
			err = fmt.Errorf("stands before any section")
		}
		if err != nil {
			return nil, wrong("line %d: %s: %w", n, key, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, wrong("%w", err)
	}
	return c, c.check()
}

func wrong(format string, args ...any) error {
	return fault.New(fault.Config, "WireGuard: "+format, args...).WithRemedy("The format is that of wg-quick(8).")
}

func (c *Conf) check() error {
	switch {
	case c.key == "":
		return wrong("has no PrivateKey")
	case len(c.Addresses) == 0:
		return wrong("has no Address")
	case len(c.peers) == 0:
		return wrong("has no [Peer]")
	}
	for i, p := range c.peers {
		switch {
		case p.key == "":
			return wrong("peer %d has no PublicKey", i+1)
		case p.endpoint == "":
			return wrong("peer %d has no Endpoint: we dial, nobody dials us", i+1)
		case len(p.allowed) == 0:
			return wrong("peer %d has no AllowedIPs", i+1)
		}
	}
	return nil
}

func (c *Conf) set(key, value string) (err error) {
	switch key {
	case "privatekey":
		c.key, err = keyOf(value)
	case "address":
		var all []netip.Prefix
		all, err = prefixes(value)
		for _, p := range all {
			c.Addresses = append(c.Addresses, p.Addr())
		}
	case "dns":
		for _, f := range fields(value) {
			if ip, err := netip.ParseAddr(f); err == nil { // others are search domains
				c.DNS = append(c.DNS, ip)
			}
		}
	case "mtu":
		c.MTU, err = strconv.Atoi(value)
		if err == nil && (c.MTU < 576 || c.MTU > 65535) {
			err = fmt.Errorf("%d: want 576 to 65535", c.MTU)
		}
	case "listenport":
		_, err = strconv.ParseUint(value, 10, 16)
		c.port = value
	default:
		if !hostOnly[key] {
			err = fmt.Errorf("is no key of [Interface]")
		}
	}
	return err
}

func (p *peer) set(key, value string) (err error) {
	switch key {
	case "publickey":
		p.key, err = keyOf(value)
	case "presharedkey":
		p.preshared, err = keyOf(value)
	case "endpoint":
		_, _, err = net.SplitHostPort(value)
		p.endpoint = value
	case "allowedips":
		var all []netip.Prefix
		all, err = prefixes(value)
		p.allowed = append(p.allowed, all...)
	case "persistentkeepalive":
		if strings.EqualFold(value, "off") {
			value = "0"
		}
		_, err = strconv.ParseUint(value, 10, 16)
		p.keepalive = value
	default:
		err = fmt.Errorf("is no key of [Peer]")
	}
	return err
}

func fields(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// keyOf turns a key into what the device takes. The key is in no error.
func keyOf(value string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(b) != 32 {
		return "", fmt.Errorf("want 32 bytes in base64, as wg genkey prints them")
	}
	return hex.EncodeToString(b), nil
}

func prefixes(value string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, f := range fields(value) {
		if ip, err := netip.ParseAddr(f); err == nil {
			all = append(all, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(f)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network", f)
		}
		all = append(all, p)
	}
	return all, nil
}

// settings are the configuration in the words of the device, see
// https://www.wireguard.com/xplatform/.
func (c *Conf) settings(ctx context.Context) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "private_key=%s\n", c.key)
	if c.port != "" {
		fmt.Fprintf(&b, "listen_port=%s\n", c.port)
	}
	for _, p := range c.peers {
		endpoint, err := locate(ctx, p.endpoint)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "public_key=%s\nendpoint=%s\n", p.key, endpoint)
		if p.preshared != "" {
			fmt.Fprintf(&b, "preshared_key=%s\n", p.preshared)
		}
		if p.keepalive != "" {
			fmt.Fprintf(&b, "persistent_keepalive_interval=%s\n", p.keepalive)
		}
		for _, a := range p.allowed {
			fmt.Fprintf(&b, "allowed_ip=%s\n", a.Masked())
		}
	}
	return b.String(), nil
}

// locate resolves the name of a peer's endpoint, which is outside of the tunnel.
func locate(ctx context.Context, endpoint string) (string, error) {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return "", wrong("endpoint: %w", err)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return endpoint, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", fault.New(fault.Unreachable, "WireGuard: endpoint: %w", err)
	}
	return net.JoinHostPort(ips[0].Unmap().String(), port), nil
}

// routes tells whether some peer takes packets for ip.
func (c *Conf) routes(ip netip.Addr) bool {
	for _, p := range c.peers {
		for _, a := range p.allowed {
			if a.Contains(ip) {
				return true
			}
		}
	}
	return false
}

func (c *Conf) allowed() string {
	var all []string
	for _, p := range c.peers {
		for _, a := range p.allowed {
			all = append(all, a.String())
		}
	}
	return strings.Join(all, ", ")
}
