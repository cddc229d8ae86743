package doctor

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

var apiRemedies = map[Reason]Remedy{
	OldAPI:   {"the cluster is an Orka 2, whose API is another", "Have MacStadium upgrade it to Orka 3.1 or newer."},
	NoAPI:    {"what answers there is no Orka 3: the endpoint is another service's, or it has a path too many", "Write the endpoint in {settings} as http://10.221.188.20 or https://COMPANY.orka.app, without a path."},
	OtherAPI: {"what answers there is no Orka: a login page, a proxy or another service", "Check the endpoint in {settings}. A captive portal or a proxy on the way answers in its place, too."},
	Silent:   {"the API takes the connection and does not answer: it restarts, or packets of full size are lost on the way (MTU of a VPN)", "Try again in a minute. If it stays, try a smaller MTU on the VPN's interface: ip link set dev INTERFACE mtu 1380"},
	Closed:   {"the API ends connections without an answer: it restarts, or something on the way cuts them", "Try again in a minute; then look at the cluster."},
	Other:    {"the API does not answer as it should", "Try again in a minute; then look at the cluster."},
}

func judgeAPI(f Facts) Verdict {
	a := f.API
	switch {
	case a == nil:
		return skip(Unknown, "not asked")
	case a.Legacy != "":
		return failed(OldAPI, "Orka "+a.Legacy+", want 3 or newer")
	case a.NotJSON:
		return failed(OtherAPI, "cluster-info: "+a.Trouble.Text)
	case a.Code == http.StatusNotFound || a.Code/100 == 3:
		return failed(NoAPI, fmt.Sprintf("cluster-info: %s", a.Trouble.Text))
	case a.Trouble != nil:
		return failed(a.Trouble.Reason, "cluster-info: "+a.Trouble.Text)
	case a.Kube == "":
		return ok("Orka 3, REST API; cluster-info names no Kubernetes API")
	}
	return ok("Orka 3, REST API; Kubernetes API at " + a.Kube)
}

var tokenRemedies = map[Reason]Remedy{
	TokenMissing: {"the token is empty, or cannot be read", "Make one, orka3 serviceaccount token NAME, and put it where {settings} says: the file, or the key token of the pool's Secret."},
	TokenEnded:   {"a service account's token ends after a year, a user's own after an hour", "Make a new one, orka3 serviceaccount token NAME, and put it where the old one is: it is read again by itself. tokenCommand: [orka3, user, get-token] always has a fresh one."},
	TokenRefused: {"it is another cluster's, its service account was deleted, or an upgrade of Orka has ended it", "Make a new one: orka3 serviceaccount token NAME."},
	TokenEnds:    {"tokens end, and nobody renews them", "Make a new one before: orka3 serviceaccount token NAME."},
	Silent:       apiRemedies[Silent],
	Closed:       apiRemedies[Closed],
	Other:        apiRemedies[Other],
}

// tokenSoon is how long before its end a token is worth a word: as the pool's condition TokenValid.
const tokenSoon = 7 * 24 * time.Hour

func judgeToken(f Facts) Verdict {
	t := f.Token
	who := ""
	if t != nil && t.Subject != "" {
		who = t.Subject + ": "
	}
	switch {
	case f.KeptBack != "":
		return skip(KeptBack, f.KeptBack)
	case t == nil:
		return skip(Unknown, "not tried")
	case t.Missing:
		return failed(TokenMissing, "there is none")
	case !t.Ends.IsZero() && !t.Ends.After(t.Now):
		return failed(TokenEnded, fmt.Sprintf("%sended on %s, %s ago", who, t.Ends.Format(time.RFC3339), days(t.Now.Sub(t.Ends))))
	case t.Code == http.StatusUnauthorized:
		return failed(TokenRefused, who+"refused: "+t.Trouble.Text)
	case t.Trouble != nil && t.Code != http.StatusForbidden: // then it is known, and may little
		return failed(t.Trouble.Reason, who+t.Trouble.Text)
	case t.Ends.IsZero():
		return ok(who + "accepted; it does not say when it ends")
	case t.Ends.Sub(t.Now) < tokenSoon && t.Ends.Sub(t.Now) > userToken:
		return warn(TokenEnds, fmt.Sprintf("%saccepted; ends on %s, in %s", who, t.Ends.Format(time.RFC3339), days(t.Ends.Sub(t.Now))))
	}
	return ok(fmt.Sprintf("%saccepted; ends on %s, in %s", who, t.Ends.Format(time.DateOnly), days(t.Ends.Sub(t.Now))))
}

// userToken is how long a user's own token lives, which is made anew each time.
const userToken = time.Hour

var kubeRemedies = map[Reason]Remedy{
	NoAPI:      {"cluster-info names no Kubernetes API", "Set door: rest in {settings}."},
	OtherAPI:   {"the cluster's objects are of a version that Outrigger does not speak", "Set door: rest in {settings}, and report it."},
	NotAllowed: {"the token may not list VMs there", "Give its service account the role orka-dev, or set door: rest in {settings}."},
	Silent:     {"port 6443 is not open from {here}, or the VPN carries the API's address alone", "Allow TCP to {kube}. Without, the REST API is used: VMs carry no labels, and outrigger image push is not possible."},
	NoRoute:    {"{here} knows no way to the address that cluster-info names", "Route to {kube}. Without, the REST API is used: VMs carry no labels, and outrigger image push is not possible."},
	Refused:    {"nothing listens at {kube}", "Look at the cluster. Without, the REST API is used: VMs carry no labels, and outrigger image push is not possible."},
	NoName:     {"nobody here knows the name that cluster-info gives", "Make the name of {kube} known, or set door: rest in {settings}."},
	Untrusted:  {"the certificate there is not vouched for by the authority in cluster-info", "Look at the cluster, or set door: rest in {settings}."},
	OtherName:  {"the certificate there is for another name", "Look at the cluster, or set door: rest in {settings}."},
	WayRefused: {"{way} does not want to carry the connection to {kube}", "Allow {kube} there, or set door: rest in {settings}."},
	WayDown:    {"{way} cannot reach {kube}", "Allow {kube} from there, or set door: rest in {settings}."},
	Other:      {"it does not answer as it should", "Look at the cluster, or set door: rest in {settings}."},
}

func judgeKube(f Facts) Verdict {
	k := f.Kube
	if k == nil {
		return skip(Unknown, "not tried")
	}
	if k.Door == "rest" {
		return skip(NotHere, "not used: door is rest")
	}
	state := warn // the REST API does it as well
	if k.Door == "kubernetes" {
		state = failed
	}
	switch {
	case f.API != nil && f.API.Kube == "":
		return state(NoAPI, "cluster-info names none")
	case k.Code == http.StatusForbidden:
		return state(NotAllowed, k.Trouble.Text)
	case k.Trouble != nil:
		return state(k.Trouble.Reason, k.Trouble.Text)
	case !contains(k.Versions, "v1"):
		return state(OtherAPI, "serves orka.macstadium.com in versions "+strings.Join(k.Versions, ", ")+", want v1")
	}
	return ok("orka.macstadium.com/v1, used for machines")
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

// judgeGrant judges the right at that place of Needed.
func judgeGrant(i int) func(Facts) Verdict {
	return func(f Facts) Verdict {
		n := Needed[i]
		if i >= len(f.Grants) || !f.Grants[i].Asked {
			if n.Optional {
				return skip(Unknown, "cannot be asked; needed for: "+n.For)
			}
			return warn(Unknown, "cannot be asked without doing it")
		}
		g := f.Grants[i]
		switch {
		case g.Allowed:
			return ok("allowed")
		case n.Optional:
			return warn(MayNot, join("not allowed", g.Text))
		}
		return failed(NotAllowed, join("not allowed", g.Text))
	}
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + ": " + b
}

func judgeImage(f Facts) Verdict {
	i := f.Image
	switch {
	case i == nil:
		return skip(Unknown, "not asked")
	case i.Registry:
		return ok(i.Name + ": is fetched from its registry, which nobody here asks")
	case !i.Asked:
		return warn(Unknown, join(i.Name, troubleText(i.Trouble)))
	case !i.There && f.Kind == QEMU:
		return failed(NotBuilt, i.Name+": is not there")
	case !i.There:
		return failed(NoImage, i.what()+i.Name+": is not there")
	case i.State != "" && !strings.EqualFold(i.State, "Ready"):
		return failed(ImageState, join(fmt.Sprintf("%s: is %s", i.Name, i.State), i.Error))
	}
	return ok(i.what() + i.Name + ": is there")
}

func (i *Image) what() string {
	if i.Config {
		return "VM config "
	}
	return ""
}

func troubleText(t *Trouble) string {
	if t == nil {
		return "cannot be asked"
	}
	return t.Text
}

func judgeCached(f Facts) Verdict {
	i := f.Image
	switch {
	case i == nil:
		return skip(Unknown, "not asked")
	case i.Config:
		return skip(NotHere, "the VM config says which image")
	case !i.Known && i.Trouble != nil:
		return skip(CacheHidden, i.Trouble.Text)
	case !i.Known:
		return skip(Unknown, "cannot be asked through the REST API")
	case i.Nodes == 0:
		return skip(NotHere, "there is no node")
	case i.On == 0:
		return warn(NotCached, fmt.Sprintf("%s: on none of %d nodes", i.Name, i.Nodes))
	case i.On < i.Nodes:
		return warn(HalfCached, fmt.Sprintf("%s: on %d of %d nodes", i.Name, i.On, i.Nodes))
	}
	return ok(fmt.Sprintf("%s: on all %d nodes", i.Name, i.Nodes))
}

func judgeRoom(f Facts) Verdict {
	r := f.Room
	switch {
	case r == nil:
		return skip(Unknown, "not asked")
	case !r.Known:
		return warn(Unknown, join("cannot be asked", r.Words))
	case f.Kind == QEMU && r.Used >= r.Max:
		return warn(AtMax, fmt.Sprintf("%d machines exist, max is %d", r.Used, r.Max))
	case f.Kind == QEMU:
		return ok(fmt.Sprintf("%d of at most %d machines exist", r.Used, r.Max))
	case r.Some:
		return ok(fmt.Sprintf("%d of %d nodes ready, %d CPUs free, %d VMs", r.Ready, r.Nodes, r.CPU, r.Used))
	case r.Fit == 0:
		return failed(NoNodes, r.Words)
	}
	return warn(NoCapacity, r.Words)
}

// judgeNodes tells whether packets come back from where machines will be. A port at which nothing
// listens yet answers with a refusal, which proves as much.
func judgeNodes(f Facts) Verdict {
	if f.Nodes == nil {
		return skip(Unknown, "the nodes cannot be listed")
	}
	if len(f.Nodes) == 0 {
		return skip(NotHere, "there is none")
	}
	var silent []string
	why := Other
	for _, n := range f.Nodes {
		if t := n.Dial.Trouble; t != nil && t.Reason != Refused {
			silent = append(silent, n.Name+" ("+n.Address+")")
			why = t.Reason
		}
	}
	if why != Silent && why != NoRoute {
		why = Other
	}
	switch {
	case len(silent) == 0:
		return ok(fmt.Sprintf("all %d answer", len(f.Nodes)))
	case len(silent) == len(f.Nodes):
		return failed(why, "none answers: "+strings.Join(silent, ", "))
	}
	return warn(why, fmt.Sprintf("%d of %d do not answer: %s", len(silent), len(f.Nodes), strings.Join(silent, ", ")))
}
