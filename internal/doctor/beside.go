package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// A Cluster is what is known of the cluster whose Pod looked.
type Cluster struct {
	GKE       bool
	MasqAgent bool     // the DaemonSet ip-masq-agent is there
	MasqCIDRs []string // its list, if the cluster has one; nil: none, or it cannot be seen
	Namespace string   // of the Pod
	Policies  []string // NetworkPolicies there that limit what the Pod may connect to
}

// A Difference is what is reached from here or from a Pod, and not from the other.
type Difference struct {
	Checks []string // "tcp of provider orka"
	Found  string
	Cause  string
	Cure   string
}

// about are the checks that depend on where one stands.
var about = []string{"name", "route", "tcp", "tls", "kubernetes-api", "nodes", "ssh-port", "host-key"}

// Beside compares what was found here with what was found from inside a Pod, and says why they
// differ, as far as it can be known.
func Beside(here, pod []Result, c Cluster) []Difference {
	var out []Difference
	var ips []string // to which no packet of a Pod is answered
	var silent Difference
	for _, p := range pod {
		h, there := find(here, p)
		if !there || !slices.Contains(about, p.Check) {
			continue
		}
		what := p.Check + " of " + p.Subject
		switch {
		case bad(p) && !bad(h) && h.State != Skipped && (p.Reason == Silent || p.Reason == NoRoute) && p.Check != "name":
			silent.Checks = append(silent.Checks, what)
			ips = append(ips, p.IPs...)
		case bad(p) && !bad(h) && h.State != Skipped:
			out = append(out, onlyHere(what, p, c))
		case bad(h) && p.State == OK:
			out = append(out, Difference{
				Checks: []string{what}, Found: "reachable from a Pod, but not from here: " + h.Found,
				Cause: "the cluster has a way there and this computer has none, which is all that Pods need",
				Cure:  "Nothing for Pods. For outrigger run from here: " + h.Cure,
			})
		}
	}
	if len(silent.Checks) == 0 {
		return out
	}
	slices.Sort(ips)
	ips = slices.Compact(ips)
	silent.Found = "reachable here, but not from a Pod: no packet comes back from " + strings.Join(ips, ", ")
	silent.Cause, silent.Cure = whySilent(ips, c)
	return append([]Difference{silent}, out...)
}

func bad(r Result) bool {
	return r.State == Failed || r.State == Warning && slices.Contains([]string{"kubernetes-api", "nodes"}, r.Check)
}

func find(all []Result, r Result) (Result, bool) {
	i := slices.IndexFunc(all, func(o Result) bool { return o.Subject == r.Subject && o.Check == r.Check })
	if i < 0 {
		return Result{}, false
	}
	return all[i], true
}

// whySilent says why packets of Pods are lost that others' are not.
func whySilent(ips []string, c Cluster) (cause, cure string) {
	inside := slices.ContainsFunc(ips, private)
	switch {
	case len(c.Policies) > 0:
		cause = fmt.Sprintf("most likely NetworkPolicy %s of namespace %s, which limits what Pods there may connect to", strings.Join(c.Policies, ", "), c.Namespace)
		cure = fmt.Sprintf("Allow egress to %s in a NetworkPolicy of namespace %s.", strings.Join(ips, ", "), c.Namespace)
		if inside {
			cure += " If that is not it: " + masquerade(ips, c)
		}
	case inside:
		cause = "most likely the Pod's packets leave with the Pod's own address, to which the far side of the VPN has no way back: nodes masquerade what Pods send to public addresses, and not to private ones"
		if c.GKE {
			cause += " (GKE's default)"
		}
		cause += ". Else a firewall lets in the nodes' addresses only, or the VPN is this computer's and not the cluster's"
		cure = masquerade(ips, c)
	default:
		cause = "a firewall on the way drops what comes from the cluster's addresses, or its nodes have no way out (no NAT)"
		cure = "Allow the cluster's public addresses at the far side, and give private nodes a NAT gateway."
	}
	return cause, cure
}

func onlyHere(what string, p Result, c Cluster) Difference {
	d := Difference{Checks: []string{what}, Found: "well here, but not in a Pod: " + p.Found, Cause: p.Cause, Cure: p.Cure}
	switch {
	case p.Check == "name":
		d.Cause = "the cluster's name servers do not know the name that this computer's know"
		d.Cure = "Write the address instead of the name, or have the cluster's DNS forward that domain (CoreDNS: forward; GKE: stubDomains of the ConfigMap kube-dns)."
	case p.Reason == Refused && len(c.Policies) > 0:
		d.Cause = fmt.Sprintf("something on the way refuses: NetworkPolicy %s of namespace %s, with some network plug-ins, or a firewall", strings.Join(c.Policies, ", "), c.Namespace)
		d.Cure = fmt.Sprintf("Allow egress to %s there.", p.Address)
	case p.Reason == Refused:
		d.Cause = "a firewall on the way refuses what comes from the cluster, or the address is another's there: the Pods' own network has it too"
		d.Cure = fmt.Sprintf("Allow %s from the cluster, and compare its network with that of the machines: kubectl cluster-info dump shows cluster-cidr.", p.Address)
	}
	return d
}
