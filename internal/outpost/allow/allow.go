// Package allow judges addresses by a list: "10.1.0.0/16:22,8822-9000",
// "[fd00::/8]:443", "*.orka.example.com:443", "mini:*".
//
// It is arithmetic: names are resolved elsewhere.
package allow

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// A List allows what any of its entries does. The zero List allows nothing.
type List struct{ entries []entry }

type entry struct {
	text   string
	prefix netip.Prefix // valid, or:
	name   string       // lower case; "*.x" is every name below x, "*" every name and address
	ports  []ports
}

type ports struct{ from, to uint16 }

// Parse reads the entries of a list.
func Parse(entries []string) (List, error) {
	var l List
	for _, text := range entries {
		e, err := parse(text)
		if err != nil {
			return List{}, fmt.Errorf("allowed address %q: %w", text, err)
		}
		l.entries = append(l.entries, e)
	}
	return l, nil
}

func parse(text string) (entry, error) {
	i := strings.LastIndexByte(text, ':')
	if i <= 0 {
		return entry{}, fmt.Errorf("want HOST:PORTS, such as 10.1.0.0/16:22 or *.example.com:443,8000-9000")
	}
	host := strings.TrimSuffix(strings.TrimPrefix(text[:i], "["), "]")
	e := entry{text: text}
	for p := range strings.SplitSeq(text[i+1:], ",") {
		r, err := parsePorts(p)
		if err != nil {
			return entry{}, err
		}
		e.ports = append(e.ports, r)
	}
	if p, err := netip.ParsePrefix(host); err == nil {
		if p != p.Masked() {
			return entry{}, fmt.Errorf("%s has bits behind its length: want %s", p, p.Masked())
		}
		e.prefix = p
		return e, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		e.prefix = netip.PrefixFrom(a, a.BitLen())
		return e, nil
	}
	e.name = fold(host)
	rest := fold(strings.TrimPrefix(host, "*.")) // "*." is not "*"
	if host != "*" && (rest == "" || strings.ContainsAny(rest, "*/:[] ")) {
		return entry{}, fmt.Errorf("%q is no address, no network such as 10.1.0.0/16 and no name", host)
	}
	return e, nil
}

func parsePorts(s string) (ports, error) {
	if s == "*" {
		return ports{1, 65535}, nil
	}
	first, last, ranged := strings.Cut(s, "-")
	from, err := strconv.ParseUint(first, 10, 16)
	to := from
	if err == nil && ranged {
		to, err = strconv.ParseUint(last, 10, 16)
	}
	if err != nil || from == 0 || from > to {
		return ports{}, fmt.Errorf("ports %q: want 22, 22,443, 8000-9000 or *", s)
	}
	return ports{uint16(from), uint16(to)}, nil
}

// An Address is what somebody asks for.
type Address struct {
	Host string // a name or an address
	Port uint16
}

// ParseAddress reads "host:port".
func ParseAddress(s string) (Address, error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return Address{}, fmt.Errorf("%.100q: want HOST:PORT", s)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return Address{}, fmt.Errorf("%.100q: %.20q is no port", s, text)
	}
	return Address{host, uint16(port)}, nil
}

// String returns "host:port".
func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// Allows tells whether the address is allowed as it was asked for: an address
// by its number, a name by its name.
func (l List) Allows(a Address) bool {
	ip, err := netip.ParseAddr(a.Host)
	for _, e := range l.entries {
		if !e.has(a.Port) {
			continue
		}
		if e.name == "*" || err == nil && e.contains(ip) || err != nil && e.matches(a.Host) {
			return true
		}
	}
	return false
}

// AllowsIP tells whether a name's address is allowed by its number.
func (l List) AllowsIP(ip netip.Addr, port uint16) bool {
	for _, e := range l.entries {
		if e.has(port) && (e.name == "*" || e.contains(ip)) {
			return true
		}
	}
	return false
}

// Empty tells whether the list allows nothing.
func (l List) Empty() bool { return len(l.entries) == 0 }

// String lists the entries.
func (l List) String() string {
	all := make([]string, len(l.entries))
	for i, e := range l.entries {
		all[i] = e.text
	}
	return strings.Join(all, " ")
}

func (e entry) has(port uint16) bool {
	for _, p := range e.ports {
		if p.from <= port && port <= p.to {
			return true
		}
	}
	return false
}

func (e entry) contains(ip netip.Addr) bool {
	return e.prefix.IsValid() && e.prefix.Contains(ip.Unmap().WithZone(""))
}

func (e entry) matches(name string) bool {
	if e.prefix.IsValid() {
		return false
	}
	name = fold(name)
	if below, ok := strings.CutPrefix(e.name, "*"); ok {
		return strings.HasSuffix(name, below) && len(name) > len(below)
	}
	return name == e.name
}

// fold makes names comparable: case does not count, nor the root's dot.
func fold(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }
