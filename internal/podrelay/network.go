package podrelay

import (
	"context"
	"slices"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/forward"
	"outrigger.dev/outrigger/internal/handoff"
)

// networkCluster is the plan's Network with which programs on the machine reach
// what the Pod reaches.
const networkCluster = "cluster"

// A network is what leads from the Pod to the machine and back while the
// command runs. It is made while the files go up.
type network struct {
	cancel context.CancelFunc
	made   chan struct{} // closed when it is, or cannot be
	fwd    *forward.Forwarder
	err    error
}

// connect begins to make the network that the plan asks for. The caller ends it.
func (j *job) connect(ctx context.Context) *network {
	ctx, cancel := context.WithCancel(ctx)
	n := &network{cancel: cancel, made: make(chan struct{})}
	ins, outs, proxy := j.leads()
	if j.rec.Stage == ended || len(ins) == 0 && len(outs) == 0 && proxy == nil {
		close(n.made)
		return n
	}
	go func() {
		defer close(n.made)
		n.fwd, n.err = j.start(ctx, ins, outs, proxy)
	}()
	return n
}

// leads are the plan's in the words of package forward.
func (j *job) leads() (ins []forward.In, outs []forward.Out, proxy *forward.Proxy) {
	for _, p := range j.plan.Ports {
		ins = append(ins, forward.In{Port: p.Port, Name: p.Name})
	}
	for _, f := range j.plan.Forwards {
		outs = append(outs, forward.Out{Port: f.Port, To: f.To})
	}
	switch {
	case j.plan.Network != networkCluster:
	case j.rec.Stage == started && j.rec.Proxy != nil:
		proxy = j.rec.Proxy // which the command knows
	default:
		proxy = &forward.Proxy{}
	}
	return ins, outs, proxy
}

// startPause is between two attempts to make the network when the connection is lost.
const startPause = 200 * time.Millisecond

// start makes the network. A connection that is lost meanwhile is no reason to
// fail: the job gets it back, or gives up, and then so does this.
func (j *job) start(ctx context.Context, ins []forward.In, outs []forward.Out, proxy *forward.Proxy) (*forward.Forwarder, error) {
	cfg := forward.Config{Client: j.host.Client, Warn: j.watch.Warn, Log: j.watch.log, Ours: j.taken}
	for {
		f, err := forward.Start(ctx, cfg, ins, outs, proxy)
		if err == nil || ctx.Err() != nil || !fault.Is(err, fault.Unreachable) {
			return f, err
		}
		j.watch.log.Debug("network", "error", err)
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// taken tells whether another container of this Pod has the machine's port, and
// leads it to the same place.
func (j *job) taken(out forward.Out) bool {
	others, err := j.state.others(j.plan.Container)
	if err != nil {
		j.watch.log.Debug("records of other containers", "error", err)
		return false
	}
	for _, rec := range others {
		if rec.Stage == started && slices.Contains(rec.Forwards, handoff.Forward{Port: out.Port, To: out.To}) {
			return true
		}
	}
	return false
}

// ready waits until the network is made, and returns its proxy, nil if it has none.
func (n *network) ready(ctx context.Context) (*forward.Proxy, error) {
	select {
	case <-n.made:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if n.err != nil || n.fwd == nil || n.fwd.Proxy().Port == 0 {
		return nil, n.err
	}
	p := n.fwd.Proxy()
	return &p, nil
}

// cut ends the network without waiting until all of it is gone, as the command's
// connections end with it.
func (n *network) cut() { n.cancel() }

// end waits until all of it is gone.
func (n *network) end() error {
	n.cancel()
	<-n.made
	if n.fwd == nil {
		return nil
	}
	return n.fwd.Close()
}

// proxied adds the proxy's variables to those of a command, but for what the
// container declares itself, in either spelling.
func proxied(env []string, proxy *forward.Proxy) []string {
	if proxy == nil {
		return env
	}
	declared := func(name string) bool {
		return slices.ContainsFunc(env, func(kv string) bool {
			has, _, _ := strings.Cut(kv, "=")
			return strings.EqualFold(has, name)
		})
	}
	var more []string
	for _, kv := range proxy.Env() {
		if name, _, _ := strings.Cut(kv, "="); !declared(name) {
			more = append(more, kv)
		}
	}
	return append(slices.Clone(env), more...)
}
