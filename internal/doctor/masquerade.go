package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// gkeDefaults are the destinations to which GKE's nodes do not masquerade what Pods send,
// unless the cluster has a list of its own: what RFCs reserve. Packets there leave
// with the Pod's own address. (The documentation of GKE and ip-masq-agent.)
var gkeDefaults = []string{
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
}

// maxCIDRs is how many entries ip-masq-agent takes, unless it is told otherwise (cidrLimit).
const maxCIDRs = 64

// siteBits is how large a network is taken to be of which an address is known: Orka's
// API, its nodes and their VMs are in networks of this size, as a rule.
const siteBits = 24

// NotMasqueraded returns the list of destinations, which is list but for the networks of ips; nil is
// GKE's own list. What the cluster does for other destinations stays as it is.
func NotMasqueraded(list, ips []string) []string {
	if list == nil {
		list = gkeDefaults
	}
	var keep []netip.Prefix
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			keep = append(keep, p.Masked())
		}
	}
	for _, site := range sites(ips) {
		var rest []netip.Prefix
		for _, p := range keep {
			rest = append(rest, without(p, site)...)
		}
		keep = rest
	}
	slices.SortFunc(keep, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	var out []string
	for _, p := range slices.Compact(keep) {
		out = append(out, p.String())
	}
	return out
}

// sites are the networks of addresses.
func sites(ips []string) []netip.Prefix {
	var all []netip.Prefix
	for _, ip := range ips {
		a, err := netip.ParseAddr(ip)
		if err != nil || !a.Unmap().Is4() {
			continue // what GKE masquerades is IPv4
		}
		if p, err := a.Unmap().Prefix(siteBits); err == nil && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return all
}

// without is p with a hole: the halves that do not hold it, ever smaller.
func without(p, hole netip.Prefix) []netip.Prefix {
	switch {
	case !p.Overlaps(hole):
		return []netip.Prefix{p}
	case p.Bits() >= hole.Bits():
		return nil
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(upper(p), p.Bits()+1)
	return append(without(low, hole), without(high, hole)...)
}

// upper is the first address of the upper half of p.
func upper(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	a, _ := netip.AddrFromSlice(b) // it has the length of an address
	return a
}

// ConfigMap is the configuration of ip-masq-agent with that list.
func ConfigMap(cidrs []string) string {
	var b strings.Builder
	b.WriteString(`apiVersion: v1
kind: ConfigMap
metadata:
  name: ip-masq-agent
  namespace: kube-system
data:
  config: |
`)
	if len(cidrs) > maxCIDRs {
		fmt.Fprintf(&b, "    cidrLimit: %d\n", len(cidrs))
	}
	if len(cidrs) == 0 {
		b.WriteString("    nonMasqueradeCIDRs: []\n")
	} else {
		b.WriteString("    nonMasqueradeCIDRs:\n")
	}
	for _, c := range cidrs {
		fmt.Fprintf(&b, "    - %s\n", c)
	}
	b.WriteString("    masqLinkLocal: false\n    resyncInterval: 60s\n")
	return b.String()
}

func names(all []netip.Prefix) string {
	text := make([]string, len(all))
	for i, p := range all {
		text[i] = p.String()
	}
	return strings.Join(text, " and ")
}

// masquerade is what helps where the far side of a VPN has no way back to Pods' addresses.
func masquerade(ips []string, c Cluster) string {
	to := names(sites(ips))
	if !c.GKE && !c.MasqAgent {
		return fmt.Sprintf(`Have the nodes masquerade what Pods send to %s, so that it leaves with the node's address: with Calico natOutgoing of the IPPool, with Cilium enableIPv4Masquerade without that network in ipMasqAgent's nonMasqueradeCIDRs, with the VPC CNI of EKS AWS_VPC_K8S_CNI_EXTERNALSNAT=false without that network in AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS. Or announce the Pods' addresses to the far side of the VPN. Or do without: an outpost needs no way back (docs/howto/reach.md).`, to)
	}
	var b strings.Builder
	whose := "GKE's own list"
	if c.MasqCIDRs != nil {
		whose = "the cluster's list"
	}
	fmt.Fprintf(&b, "Have the nodes masquerade what Pods send to %s, so that it leaves with the node's address. This is %s without that network (widen the gap if the site is larger); put it in place with kubectl apply -f FILE:\n\n", to, whose)
	for line := range strings.Lines(ConfigMap(NotMasqueraded(c.MasqCIDRs, ips))) {
		b.WriteString("  " + line)
	}
	b.WriteString("\nThe agent reads it within resyncInterval. ")
	if c.MasqAgent {
		b.WriteString("It runs in this cluster: DaemonSet kube-system/ip-masq-agent. ")
	} else {
		b.WriteString("It is in effect where the DaemonSet kube-system/ip-masq-agent runs, which is not to be seen here: kubectl -n kube-system get daemonset ip-masq-agent; a Standard cluster without it is given one as GKE's documentation says. ")
	}
	b.WriteString("An Autopilot cluster has the same list as destinations of its EgressNATPolicy (networking.gke.io/v1, action NoSNAT): kubectl edit egressnatpolicies default. The VPN must carry the nodes' subnet. Or do without: an outpost needs no way back (docs/howto/reach.md).")
	return b.String()
}
