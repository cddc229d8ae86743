package look

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
	"outrigger.dev/outrigger/internal/reach/via"
)

// atOrka is what is known of an Orka while it is looked at.
type atOrka struct {
	p    Patient
	cfg  orka.Config
	dial via.DialFunc
	api  *orkaapi.Client
	info orkaapi.Info
	kube *orkaapi.Kube // nil: there is none
	open bool          // kube answers

	nodes    []orkaapi.Node
	nodesErr error
	vms      []orkaapi.VM
	vmsErr   error
}

func (o *atOrka) target() doctor.Target {
	t := doctor.Target{Via: via.Describe(o.p.Via)}
	if p := o.webProxy(); p != nil {
		t.Via = "the proxy " + p.Redacted() + " of the environment"
	}
	base, err := orkaapi.ParseEndpoint(o.cfg.Endpoint)
	if err != nil {
		return t // the configuration is checked before it comes here
	}
	u, err := url.Parse(base)
	if err != nil {
		return t
	}
	t.Scheme, t.Host, t.Port = u.Scheme, u.Hostname(), 80
	if u.Scheme == "https" {
		t.Port = 443
	}
	if n, err := strconv.Atoi(u.Port()); err == nil {
		t.Port = n
	}
	return t
}

// webProxy is the proxy that the environment names for the API; nil: none. Whoever configures a way
// is not asked: the client of the API goes through both then, which nobody has wanted yet.
func (o *atOrka) webProxy() *url.URL {
	base, err := orkaapi.ParseEndpoint(o.cfg.Endpoint)
	if err != nil {
		return nil
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil {
		return nil
	}
	return proxy
}

// tcpTo connects to who is first on the way: the proxy of the environment, or the API through the
// steps that are configured.
func (o *atOrka) tcpTo(ctx context.Context, f *doctor.Facts) {
	p := o.webProxy()
	if p == nil {
		tcp(ctx, f, o.dial)
		return
	}
	port := p.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080"}[p.Scheme]
	}
	tcp(ctx, f, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return o.dial(ctx, network, net.JoinHostPort(p.Hostname(), port))
	})
}

// ways puts in the look of each check.
func (o *atOrka) ways(looks map[string]look) {
	o.cfg = o.cfg.Defaults()
	var err error
	if o.dial = o.cfg.Dial; o.dial == nil {
		o.dial, err = o.p.dialThrough(o.p.Via)
	}
	if err == nil {
		o.api, err = orkaapi.New(orkaapi.Options{
			Endpoint: o.cfg.Endpoint, Token: o.cfg.Token, Refresh: o.cfg.Refresh, CA: o.cfg.CA, Fields: o.cfg.Fields, DialContext: o.dial, Log: o.p.Log,
		})
	}
	if err != nil { // then nothing can be looked at
		broken := trouble(err)
		looks["name"] = func(_ context.Context, f *doctor.Facts) { f.Lookup = &doctor.Lookup{Trouble: broken} }
		return
	}
	looks["name"] = lookUp
	looks["route"] = route
	looks["tcp"] = o.tcpTo
	if o.webProxy() == nil { // else the API's client makes the handshake, through the proxy
		looks["tls"] = func(ctx context.Context, f *doctor.Facts) { secure(ctx, f, o.dial, o.cfg.CA) }
	}
	looks["api-version"] = o.version
	looks["token"] = o.token
	looks["kubernetes-api"] = o.other
	for i, n := range doctor.Needed {
		looks["permission "+n.String()] = func(ctx context.Context, f *doctor.Facts) { f.Grants = append(f.Grants[:i:i], o.grant(ctx, n)) }
	}
	looks["image"] = o.image
	looks["image-cached"] = o.cached
	looks["capacity"] = o.room
	looks["nodes"] = o.reachNodes
}

// within bounds one question.
func within(ctx context.Context, ask func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	ask(ctx)
}

func (o *atOrka) version(ctx context.Context, f *doctor.Facts) {
	within(ctx, func(ctx context.Context) {
		f.API = &doctor.API{}
		var err error
		if o.info, err = o.api.Info(ctx); err == nil {
			f.API.Kube, f.API.Skew = o.info.APIEndpoint, o.api.Skew()
			return
		}
		f.API.Code, f.API.NotJSON, f.API.Trouble = orkaapi.Code(err), orkaapi.NotJSON(err), trouble(err)
		if f.API.Code/100 == 4 {
			f.API.Legacy = o.api.Legacy(ctx)
		}
	})
}

// token reads the token and asks something that needs one and no right beyond: the nodes. What else
// the answer says is kept.
func (o *atOrka) token(ctx context.Context, f *doctor.Facts) {
	if o.p.KeptBack != "" {
		return
	}
	within(ctx, func(ctx context.Context) {
		t := &doctor.Token{Missing: o.cfg.Token.Empty(), Now: o.api.Now(), Subject: subjectOf(o.cfg.Token)}
		f.Token = t
		if t.Missing {
			return
		}
		o.nodes, o.nodesErr = o.api.Nodes(ctx, o.cfg.Namespace)
		t.Accepted, t.Code = o.nodesErr == nil, orkaapi.Code(o.nodesErr)
		if o.nodesErr != nil {
			t.Trouble = trouble(o.nodesErr)
		}
		t.Ends, _ = o.api.TokenExpires() // after the question: a token that was refused is read again
		t.Now = o.api.Now()
	})
}

// subjectOf reads from a token whose it is. Nothing is verified: the server does that.
func subjectOf(token machine.Secret) string {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(payload, &claims) != nil || len(claims.Subject) > 200 {
		return ""
	}
	return strings.TrimPrefix(claims.Subject, "system:serviceaccount:")
}

// other looks at the cluster's Kubernetes API.
func (o *atOrka) other(ctx context.Context, f *doctor.Facts) {
	within(ctx, func(ctx context.Context) {
		f.Kube = &doctor.Kube{Door: string(o.cfg.Door)}
		if o.info.APIEndpoint == "" {
			return
		}
		kube, err := o.api.Kube(o.info, o.cfg.Namespace)
		if err != nil {
			f.Kube.Trouble = trouble(err)
			return
		}
		o.kube = kube
		if f.Kube.Trouble, f.Kube.IP = o.kubePort(ctx, f.Target.Via); f.Kube.Trouble != nil {
			return
		}
		if f.Kube.Versions, err = kube.Versions(ctx); err == nil {
			o.open = true
			if err = kube.Probe(ctx); err == nil {
				f.Kube.Listed = true
				return
			}
		}
		f.Kube.Code, f.Kube.Trouble = orkaapi.Code(err), trouble(err)
	})
}

// kubePort tells whether a connection to the Kubernetes API comes about, sooner than its client
// would give up.
func (o *atOrka) kubePort(ctx context.Context, way string) (*doctor.Trouble, string) {
	u, err := url.Parse(o.info.APIEndpoint)
	if err != nil || o.webProxy() != nil {
		return nil, "" // its client tells
	}
	port := 443
	if n, err := strconv.Atoi(u.Port()); err == nil {
		port = n
	}
	one := doctor.Facts{Target: doctor.Target{Host: u.Hostname(), Port: port, Via: way}}
	tcp(ctx, &one, o.dial)
	if one.Dial.Trouble == nil {
		return nil, ""
	}
	return &doctor.Trouble{Reason: one.Dial.Trouble.Reason, Text: one.Target.Address() + ": " + one.Dial.Trouble.Text}, one.Dial.IP
}

// grant asks for one right: the Kubernetes API, which knows, else the REST API by trying
// what changes nothing.
func (o *atOrka) grant(ctx context.Context, n doctor.Need) (g doctor.Grant) {
	g.Need = n
	within(ctx, func(ctx context.Context) {
		namespace := o.cfg.Namespace
		if n.Shared {
			namespace = orkaapi.ImageNamespace
		}
		if o.open {
			var err error
			if g.Allowed, g.Text, err = o.kube.May(ctx, orkaapi.Right{Verb: n.Verb, Group: n.Group(), Resource: n.Resource, Namespace: namespace}); err == nil {
				g.Asked = true
				return
			}
		}
		if !n.REST {
			return
		}
		err := o.try(ctx, n)
		g.Asked = err == nil || orkaapi.Code(err) == 403
		g.Allowed = err == nil
		if err != nil {
			g.Text = text(err)
		}
	})
	return g
}

// try does through the REST API what the right is for, where that is looking.
func (o *atOrka) try(ctx context.Context, n doctor.Need) error {
	switch n.String() {
	case "list VMs":
		o.list(ctx)
		return o.vmsErr
	case "list nodes":
		return o.nodesErr
	}
	_, err := o.api.Images(ctx)
	return err
}

// list asks for the VMs, once.
func (o *atOrka) list(ctx context.Context) {
	if o.vms == nil && o.vmsErr == nil {
		o.vms, o.vmsErr = o.api.REST(o.cfg.Namespace).List(ctx)
	}
}

func (o *atOrka) image(ctx context.Context, f *doctor.Facts) {
	within(ctx, func(ctx context.Context) {
		i := &doctor.Image{Name: o.cfg.Image}
		if o.p.Image != "" {
			i.Name = o.p.Image
		}
		f.Image = i
		var err error
		switch {
		case i.Name == "":
			i.Name, i.Config = o.cfg.VMConfig, true
			err = o.api.HasConfig(ctx, i.Name)
		case strings.ContainsAny(i.Name, "/:"):
			i.Registry = true
			return
		default:
			var found orkaapi.Image
			found, err = o.api.Image(ctx, i.Name)
			i.State, i.Error = found.State, found.Error
		}
		i.There, i.Asked = err == nil, err == nil || orkaapi.IsNotFound(err)
		if err != nil {
			i.Trouble = trouble(err)
		}
	})
}

func (o *atOrka) cached(ctx context.Context, f *doctor.Facts) {
	if f.Image == nil || f.Image.Config || !o.open || o.nodesErr != nil {
		return
	}
	within(ctx, func(ctx context.Context) {
		var names []string
		for _, n := range o.nodes {
			names = append(names, n.Name)
		}
		on, err := o.kube.Cached(ctx, f.Image.Name, names)
		f.Image.On, f.Image.Nodes, f.Image.Known = on, len(names), err == nil
		f.Image.Trouble = nil
		if err != nil {
			f.Image.Trouble = trouble(err)
		}
	})
}

func (o *atOrka) room(ctx context.Context, f *doctor.Facts) {
	within(ctx, func(ctx context.Context) {
		f.Room = &doctor.Room{Nodes: len(o.nodes)}
		if o.nodesErr != nil {
			f.Room.Words = text(o.nodesErr)
			return
		}
		o.list(ctx)
		if o.vmsErr != nil {
			f.Room.Words = text(o.vmsErr)
			return
		}
		r := orka.RoomFor(o.nodes, o.vms, o.cfg)
		f.Room.Known, f.Room.Some, f.Room.Words, f.Room.Fit, f.Room.Used = true, r.Some, r.Words, r.Fit, len(o.vms)
		for _, n := range o.nodes {
			if n.Ready {
				f.Room.Ready++
				f.Room.CPU += n.CPU
			}
		}
	})
}

// someNodes is how many nodes are tried: they stand in one network, or in few.
const someNodes = 8

// firstPort is the first of those that Orka maps to the SSH ports of VMs (its documentation).
const firstPort = 8822

// reachNodes connects to where machines are, or will be.
func (o *atOrka) reachNodes(ctx context.Context, f *doctor.Facts) {
	if o.nodesErr != nil {
		return
	}
	nodes := slices.Clone(o.nodes)
	nodes = slices.DeleteFunc(nodes, func(n orkaapi.Node) bool { return n.Address == "" })
	nodes = nodes[:min(len(nodes), someNodes)]
	seen := make([]doctor.Node, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		address := n.Address
		if mapped, ok := o.cfg.Addresses[address]; ok {
			address = mapped
		}
		wg.Go(func() {
			one := doctor.Facts{Target: doctor.Target{Host: address, Port: firstPort, Via: f.Target.Via}}
			tcp(ctx, &one, o.dial)
			seen[i] = doctor.Node{Name: n.Name, Address: net.JoinHostPort(address, strconv.Itoa(firstPort)), Dial: *one.Dial}
		})
	}
	wg.Wait()
	f.Nodes = seen
}
