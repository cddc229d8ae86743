package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

var nameRemedies = map[Reason]Remedy{
	NoName:   {"the name is mistyped, or only a name server in the private network knows it", "Check the name in {settings}. With a VPN, have {here} use its name server, or write the address instead."},
	NameDown: {"the name server of {here} does not answer", "Look at the network of {here}, and at /etc/resolv.conf or what stands for it. Writing the address instead of the name does without."},
	Other:    {"the name cannot be looked up", "Look at the name server of {here}, or write the address instead."},
}

func judgeName(f Facts) Verdict {
	switch l := f.Lookup; {
	case f.Target.Behind() != "":
		return skip(NotHere, f.Target.Host+": is looked up by "+f.Target.Behind())
	case l == nil:
		return skip(Unknown, "not looked up")
	case l.Trouble != nil:
		return failed(l.Trouble.Reason, f.Target.Host+": "+l.Trouble.Text)
	case l.Literal:
		return ok(f.Target.Host + " is an address")
	default:
		return ok(f.Target.Host + " is " + strings.Join(l.IPs, ", "))
	}
}

var routeRemedies = map[Reason]Remedy{
	NoRoute: {"{here} has no route to that address: the VPN is not connected, or it has no network at all", "Connect the VPN, or go another way: docs/howto/reach.md has proxies, tunnels, jump hosts and outposts."},
	Other:   {"the system refuses to say", "Try by hand: ip route get {host}"},
}

func judgeRoute(f Facts) Verdict {
	switch r := f.Route; {
	case f.Target.Behind() != "":
		return ok("through " + f.Target.Behind())
	case r == nil:
		return skip(Unknown, "not looked at")
	case r.Trouble != nil:
		return failed(r.Trouble.Reason, r.IP+": "+r.Trouble.Text)
	default:
		out := fmt.Sprintf("%s address %s, from %s", reachOf(r.IP), r.IP, r.Source)
		if r.Interface != "" {
			out += " (" + r.Interface + ")"
		}
		return ok(out)
	}
}

// carrierNAT is RFC 6598's: private as well, to those who are in it.
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// reachOf says from where an address can be reached at all.
func reachOf(ip string) string {
	a, err := netip.ParseAddr(ip)
	switch {
	case err != nil:
		return "unknown"
	case a.IsLoopback():
		return "loopback"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsPrivate(), carrierNAT.Contains(a.Unmap()):
		return "private"
	}
	return "public"
}

// private tells whether packets to ip go through a VPN or a network of one's own.
func private(ip string) bool { return reachOf(ip) == "private" }

var tcpRemedies = map[Reason]Remedy{
	Refused:    {"the address answers, and nothing listens at port {port} there", "Check the port in {settings}, and that the service runs. Orka's API is at port 80 or 443 of the address that ends in 20."},
	Silent:     {"no packet comes back: the VPN is not connected, a firewall drops them, the address is another's, or the other side has no route back to {here}", "Connect the VPN and check the address. In a Pod, packets may leave with the Pod's own address, which the other side of a VPN cannot answer: outrigger doctor {on} --in-cluster tells."},
	NoRoute:    {"a router on the way, or {here}, knows no way to that address", "Connect the VPN, or go another way: docs/howto/reach.md."},
	WayRefused: {"{way} does not want to carry the connection", "Check the password or pass for it, and its list of allowed addresses: docs/howto/reach.md."},
	WayDown:    {"{way} does not answer, or cannot reach the address from where it is", "Check the address of {way}, and from there that {address} answers: docs/howto/reach.md."},
	Closed:     {"something on the way ends connections: a firewall, or a proxy that speaks another protocol", "Check the address and the port in {settings}."},
	Other:      {"no connection comes about", "Look at the way to {address} from {here}: docs/howto/reach.md."},
}

var sshPortRemedies = map[Reason]Remedy{
	Refused:    {"the machine answers, and no SSH server listens at port {port}: Remote Login is off, it is still booting, or the port is another", "Turn on Remote Login (Mac: systemsetup -setremotelogin on) in the image, or mend the port in {settings}."},
	Silent:     {"no packet comes back from the machine: a firewall drops them, the VPN carries the API's network and not the machines', or the other side has no route back to {here}", "Allow TCP to {address} from {here}, and route the machines' network. From a Pod: outrigger doctor {on} --in-cluster tells more."},
	NoRoute:    {"{here}, or a router on the way, knows no way to the machine's address", "Route the machines' network, or go another way: docs/howto/reach.md. Where machines are reached at other addresses from outside, map them with addresses in {settings}."},
	WayRefused: tcpRemedies[WayRefused],
	WayDown:    tcpRemedies[WayDown],
	Closed:     {"the port takes connections and ends them at once: sshd is at its limit (MaxStartups), has no host key, or another service is there", "Look at the SSH server's log on the machine, and check the port in {settings}."},
	Hung:       {"the port takes connections and says nothing: a port forwarding leads to a machine that has not booted, or that is gone", "Wait until the machine has booted. If it stays, delete it and look at the provider's port rules."},
	Other:      {"no connection comes about", "Look at the way to {address} from {here}: docs/howto/reach.md."},
}

func judgeDial(f Facts) Verdict {
	d, at := f.Dial, f.Target.Address()
	if f.Target.Behind() != "" {
		at += " through " + f.Target.Behind()
	}
	switch {
	case d == nil:
		return skip(Unknown, "not tried")
	case d.Trouble == nil:
		return ok(fmt.Sprintf("%s: connected in %s", at, short(d.Took)))
	case d.Trouble.Reason == Silent:
		return failed(Silent, fmt.Sprintf("%s: no answer within %s", at, d.Limit))
	}
	return failed(d.Trouble.Reason, at+": "+d.Trouble.Text)
}

func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

var tlsRemedies = map[Reason]Remedy{
	NotTLS:      {"what answers there speaks no TLS", "Write the endpoint with http:// in {settings}, or with the port of its TLS."},
	Untrusted:   {"the certificate is signed by nobody whom {here} knows: the cluster has an authority of its own", "Give the certificate of that authority as caFile; for a pool, as ca.crt in the token's Secret."},
	OtherName:   {"the certificate is for another name", "Write the endpoint in {settings} with a name that the certificate has."},
	CertExpired: {"nobody has renewed the certificate", "Renew it at the cluster."},
	CertEnds:    {"the certificate is to be renewed", "Renew it at the cluster before it ends."},
	PlainText:   {"the endpoint is http:// at a public address: the token crosses the Internet for everybody to read", "Write the endpoint with https:// in {settings}, and make a new token."},
	Hung:        {"connected, and then nothing is said: a firewall or proxy that looks into TLS, or packets of full size are lost on the way (MTU of a VPN)", "Try a smaller MTU on the VPN's interface: ip link set dev INTERFACE mtu 1380"},
	Closed:      {"the other side ends the handshake", "Check the endpoint in {settings}."},
	Other:       {"the handshake fails", "Check the endpoint in {settings}."},
}

// certSoon is how long before its end a certificate is worth a word.
const certSoon = 14 * 24 * time.Hour

func judgeTLS(f Facts) Verdict {
	t := f.TLS
	switch {
	case f.Target.Scheme == "http" && f.Target.Behind() == "" && reachOf(f.ip()) == "public":
		return warn(PlainText, "none: the endpoint is http:// at the public address "+f.ip())
	case f.Target.Scheme == "http":
		return skip(NotHere, "none: the endpoint is http://")
	case t == nil:
		return skip(Unknown, "not tried")
	case t.Trouble != nil:
		return failed(t.Trouble.Reason, t.Trouble.Text)
	case t.Ends.Before(f.Now.Add(certSoon)):
		return warn(CertEnds, fmt.Sprintf("certificate of %s ends on %s, in %s", t.name(), t.Ends.Format(time.DateOnly), days(t.Ends.Sub(f.Now))))
	}
	return ok(fmt.Sprintf("certificate of %s, by %s, until %s", t.name(), t.Issuer, t.Ends.Format(time.DateOnly)))
}

func (t *TLS) name() string {
	const most = 3 // what fits a line
	if len(t.Names) == 0 {
		return t.Subject
	}
	if len(t.Names) > most {
		return strings.Join(t.Names[:most], ", ") + ", …"
	}
	return strings.Join(t.Names, ", ")
}

// days says a time in the unit that people count it in.
func days(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return d.Round(time.Minute).String()
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
