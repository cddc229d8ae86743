// Package forward carries TCP between a Pod and a machine over the SSH
// connection between them, in three ways:
//
//   - [In]: a port of the Pod leads to the same port on the machine's loopback.
//     The Pod's port is open only while the machine's is, so that a kubelet's
//     probe, a Service or "kubectl port-forward" sees what it would see of a
//     container.
//   - [Out]: a port on the machine's loopback leads to an address as seen in
//     the Pod: a Service, or a sidecar on 127.0.0.1.
//   - a proxy on the machine's loopback, SOCKS5 and HTTP on one port, that
//     connects from the Pod and resolves names there. [Forwarder.Env] has the
//     variables that make programs use it, with a password made for this run.
//
// A caller does this, before it starts the command on the machine:
//
//	f, err := forward.Start(ctx, forward.Config{Client: host.Client, Warn: say, Log: log}, ins, outs, &forward.Proxy{})
//	if err != nil { … }     // the proxy or the machine cannot be had: a fault
//	defer f.Close()
//	env = append(env, f.Env()...)
//
// When Start returns, the proxy listens, and so does every Out whose port could
// be had; an In opens when its program does. What cannot be had but for the
// proxy is told once by Warn, and the rest works. When the SSH connection is
// lost, connections in flight are reset, Config.Client is asked for the next,
// and everything is made again, the proxy on the same port. A caller that is
// restarted while the command goes on hands over the [Proxy] that it had.
package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/connlimit"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach"
)

// A Config is what a Forwarder works with.
type Config struct {
	// Client returns the connection to the machine, a new one when the last
	// is lost: [host.Host.Client]. It may be called at once.
	Client func(context.Context) (*reach.Client, error)
	// Warn tells the user, in one line, of what does not work. It may be
	// called at once. nil: nobody is told.
	Warn func(string)
	Log  *slog.Logger // nil: silent
	// Ours tells that an Out's port, which is taken on the machine, leads to the
	// same address already, by another Forwarder: nobody is warned then, and the
	// port is had when the other leaves it. nil: none does.
	Ours func(Out) bool
	// Greet is how long a client of the proxy may take to show the password and say
	// what it wants; 0: 10 seconds.
	Greet time.Duration
	// Dial connects from the Pod and resolves names there; nil means TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// An In is a port that the Pod opens while the machine serves it.
type In struct {
	Port int
	Name string // for messages; may be ""
}

// An Out is a port of the machine's loopback that leads to an address.
type Out struct {
	Port int
	To   string // "host:port" as seen in the Pod
	Name string // for messages; may be ""
}

const (
	// maxConns bounds the connections of one Forwarder. A guess: more than a
	// build has, and at two buffers of 32 KiB each, 32 MiB.
	maxConns = 512
	// dialLimit bounds the making of one connection, on either side.
	dialLimit = 30 * time.Second
	// takenGrace is how long a port that is taken is asked for again before
	// anybody is told: the last step of the Pod may just be leaving it.
	takenGrace = 3 * time.Second
	// firstPause and lastPause bound the time between two attempts.
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// A Forwarder runs from Start to Close. Its methods may be called at once.
type Forwarder struct {
	cfg    Config
	cancel context.CancelFunc
	wg     sync.WaitGroup
	slots  chan struct{}
	full   sync.Once
	proxy  Proxy // without a port: none
	// strangers are the proxy's clients that have not shown the password. All are of
	// the machine's loopback: one source.
	strangers connlimit.Limiter
}

// Start begins to forward until ctx ends or Close is called. It fails if the
// machine cannot be reached, with the fault of Config.Client, or if a new proxy
// is asked for and the machine's SSH server forbids it: Config.
//
// proxy is nil for none, the zero value for a new one, else the one that
// programs on the machine know from before: its port is tried for until it can
// be had, and told if that takes long.
func Start(ctx context.Context, cfg Config, ins []In, outs []Out, proxy *Proxy) (*Forwarder, error) {
	if cfg.Warn == nil {
		cfg.Warn = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Ours == nil {
		cfg.Ours = func(Out) bool { return false }
	}
	if cfg.Greet == 0 {
		cfg.Greet = defaultGreet
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if err := check(ins, outs); err != nil {
		return nil, err
	}
	if _, err := cfg.Client(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &Forwarder{
		cfg: cfg, cancel: cancel, slots: make(chan struct{}, maxConns),
		strangers: connlimit.Limiter{Total: maxStrangers, PerSource: maxStrangers},
	}
	var ready sync.WaitGroup
	if proxy != nil {
		f.proxy = *proxy
		if err := f.startProxy(ctx, &ready); err != nil {
			f.Close()
			return nil, err
		}
	}
	for _, out := range outs {
		ready.Add(1)
		f.wg.Go(func() { f.out(ctx, out, sync.OnceFunc(ready.Done)) })
	}
	ready.Wait()
	begun := map[int]bool{} // a container may declare a port twice
	for _, in := range ins {
		if !begun[in.Port] {
			begun[in.Port] = true
			f.wg.Go(func() { f.in(ctx, in) })
		}
	}
	return f, nil
}

// Close ends all connections and listeners and waits until they are gone.
func (f *Forwarder) Close() error {
	f.cancel()
	f.wg.Wait()
	return nil
}

// check refuses what can never work. An In and an Out of one port would lead
// in a circle, each taking the other for its program.
func check(ins []In, outs []Out) error {
	at := map[int]string{}
	for _, o := range outs {
		what := fmt.Sprintf("forward of port %d to %q", o.Port, o.To)
		if _, port, err := net.SplitHostPort(o.To); err != nil || port == "" {
			return fault.New(fault.Config, "%s: want HOST:PORT", what)
		}
		if err := checkPort(o.Port); err != nil {
			return fault.New(fault.Config, "%s: %w", what, err)
		}
		if at[o.Port] != "" {
			return fault.New(fault.Config, "%s: the port is that of the %s too", what, at[o.Port])
		}
		at[o.Port] = what
	}
	for _, in := range ins {
		if err := checkPort(in.Port); err != nil {
			return fault.New(fault.Config, "container port %d: %w", in.Port, err)
		}
		if at[in.Port] != "" {
			return fault.New(fault.Config, "container port %d: it is the port of the %s too", in.Port, at[in.Port]).
				WithRemedy("Forward another port of the machine: a program there cannot serve the port that leads away from it.")
		}
	}
	return nil
}

func checkPort(port int) error {
	if port < 1 || port > 65535 {
		return errors.New("want a port from 1 to 65535, got " + strconv.Itoa(port))
	}
	return nil
}

// named is how messages call a port.
func named(port int, name string) string {
	if name == "" {
		return "port " + strconv.Itoa(port)
	}
	return fmt.Sprintf("port %d (%s)", port, name)
}

// warn tells the user, with what there is to do.
func (f *Forwarder) warn(what string, err error) {
	text := what + ": " + err.Error()
	var known *fault.Error
	if errors.As(err, &known) && known.Remedy != "" {
		text += ". " + known.Remedy
	}
	f.cfg.Warn(text)
}

// take gets a place for a connection, or tells that there is none.
func (f *Forwarder) take(what string) bool {
	select {
	case f.slots <- struct{}{}:
		return true
	default:
	}
	f.cfg.Log.Warn("connection refused: too many at once", "port", what, "limit", maxConns)
	f.full.Do(func() {
		f.cfg.Warn(fmt.Sprintf("%s: connection refused: %d are open already, which is the limit; more are refused without a word", what, maxConns))
	})
	return false
}

func (f *Forwarder) give() { <-f.slots }

// A pause grows from one attempt to the next.
type pause struct{ d time.Duration }

// wait waits and tells whether ctx lived that long.
func (p *pause) wait(ctx context.Context) bool {
	p.d = min(max(2*p.d, firstPause), lastPause)
	t := time.NewTimer(p.d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
