// Package ready makes the machines of pools ready over SSH: it carries out for
// package pools what package prepare plans, and looks after the lease key, which
// is another one for each claim.
package ready

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/imagebuild"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/prepare"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/wire"
)

// A Readier makes machines ready. It keeps no connection between two calls.
type Readier struct {
	agents deliver.Source
	reach  reach.Options
	log    *slog.Logger
}

var _ pools.Readier = (*Readier)(nil)

// New returns a Readier that gives these agents to machines.
func New(agents deliver.Source, options reach.Options, log *slog.Logger) *Readier {
	if options.Log == nil {
		options.Log = log
	}
	return &Readier{agents: agents, reach: options, log: log}
}

// Answers implements [pools.Readier]. Who refuses the login, or shows another host
// key, answers: that is told when the machine is prepared.
func (r *Readier) Answers(ctx context.Context, ep machine.Endpoint) error {
	c, err := reach.Dial(ctx, ep, r.reach)
	if err != nil {
		if fault.Is(err, fault.AuthRefused) || fault.Is(err, fault.HostKey) {
			return nil
		}
		return err
	}
	return c.Close()
}

// Prepare implements [pools.Readier].
func (r *Readier) Prepare(ctx context.Context, w pools.Work) (pools.Prepared, error) {
	m := w.Machine
	key, public, err := newKey()
	if err != nil {
		return pools.Prepared{}, err
	}
	v, err := r.visit(w, public)
	if err != nil {
		return pools.Prepared{}, err
	}
	v.Key = key
	got, err := prepare.Machine(ctx, v)
	out := pools.Prepared{Session: got.Session, Conditions: findings(got.Report)}
	if w.Lasting && !v.Want.Separate {
		out.Conditions = append(out.Conditions, sharing(m.Endpoint.User))
	}
	if err == nil {
		err = got.Err()
	}
	if err != nil {
		return out, err
	}
	ep := got.Endpoint
	ep.Auth = machine.Auth{}
	if len(ep.HostKeys) > 0 {
		ep.KnownHosts = nil
	}
	ep.Root = got.Agent.Root
	out.Claim = handoff.Claim{
		Version: handoff.Version, Owner: m.Owner, Machine: m.Name, Platform: got.Agent.Platform, Endpoint: ep, Key: key.Reveal(),
	}
	if !w.Lasting {
		if out.Claim.Home, err = r.recordHome(ctx, out.Claim); err != nil {
			return out, err
		}
	}
	return out, nil
}

// recordHome has the agent write down what the home is like, before anybody has a key to it.
func (r *Readier) recordHome(ctx context.Context, c handoff.Claim) ([]byte, error) {
	h, err := r.open(ctx, c)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	var got wire.HomeRecorded
	err = h.Call(ctx, wire.MethodHomeRecord, wire.HomeRecord{Sole: true}, &got)
	return got.Digest, err
}

// Check implements [pools.Readier]: the machine lets us in and its agent answers.
func (r *Readier) Check(ctx context.Context, c handoff.Claim) error {
	h, err := r.open(ctx, c)
	if err != nil {
		return err
	}
	defer h.Close()
	var info wire.Info
	return h.Call(ctx, wire.MethodInfo, wire.InfoRequest{}, &info)
}

// Release implements [pools.Readier].
func (r *Readier) Release(ctx context.Context, c handoff.Claim, w pools.Work, again bool) (handoff.Claim, error) {
	separate := prepare.IsSlotUser(c.Endpoint.User) // whatever the pool asks for by now
	if !separate {
		if err := r.end(ctx, c, w.Lasting); err != nil {
			return c, err
		}
	}
	key, public, err := newKey()
	if err != nil {
		return c, err
	}
	v, err := r.visit(w, public)
	if err != nil {
		return c, err
	}
	v.Key = key
	keepApart(&v.Want, w, separate)
	report, err := prepare.Renew(ctx, v, c.Reach(), again)
	if err == nil {
		err = report.Err()
	}
	if err != nil || !again {
		return c, err
	}
	c.Key, c.Lease = key.Reveal(), ""
	return c, nil
}

// Leave implements [pools.Readier].
func (r *Readier) Leave(ctx context.Context, w pools.Work, c *handoff.Claim) error {
	v := r.visitWithout(w)
	v.Want.Keychain = nil
	if p := w.Pool.Spec.Preparation; p != nil && p.BuildKeychain != nil {
		v.Want.Keychain = &prepare.Keychain{} // what was in it does not matter any more
	}
	var own *machine.Endpoint
	if c != nil {
		ep := c.Reach()
		own = &ep
		keepApart(&v.Want, w, prepare.IsSlotUser(ep.User))
	}
	return prepare.Depart(ctx, v, own)
}

// Reopen takes back, before an image's recipe runs, what takes the password: see [prepare.Reopen].
func (r *Readier) Reopen(ctx context.Context, c handoff.Claim, w pools.Work) error {
	return prepare.Reopen(ctx, r.visitWithout(w), c.Reach())
}

// Provision carries out an image's recipe: see [imagebuild.Provision].
func (r *Readier) Provision(ctx context.Context, c handoff.Claim, recipe imagebuild.Recipe, out io.Writer) error {
	log := r.log.With("machine", c.Machine)
	return imagebuild.Provision(ctx, c.Reach(), imagebuild.Options{
		Agents: r.agents, Reach: r.reach, Note: "MachineClaim " + c.Name, Log: log, Warn: func(text string) { log.Warn("build", "text", text) },
	}, recipe, out)
}

// Unmake takes back what makes a machine ours before an image is made of it: see [prepare.Unmake].
func (r *Readier) Unmake(ctx context.Context, c handoff.Claim, w pools.Work) error {
	v := r.visitWithout(w)
	v.Want.AgentRoot = c.Endpoint.Root
	if p := w.Pool.Spec.Preparation; p != nil && p.BuildKeychain != nil {
		v.Want.Keychain = &prepare.Keychain{}
	}
	return prepare.Unmake(ctx, v, c.Reach())
}

// end ends the claim's lease and its runs; on a machine that nobody else uses, every lease. What
// cannot be cleaned of the lease is an error: such a machine is not for the next claim.
func (r *Readier) end(ctx context.Context, c handoff.Claim, lasting bool) error {
	h, err := r.open(ctx, c)
	if err != nil {
		return err
	}
	defer h.Close()
	var list wire.LeaseList
	if err := h.Call(ctx, wire.MethodLeaseList, nil, &list); err != nil {
		return err
	}
	// The claim's own may be gone, or never have been: what was done without it is looked for all the same.
	var names []string
	for _, l := range list.Leases {
		if !lasting && l.Name != c.Lease {
			names = append(names, l.Name)
		}
	}
	own := c.Lease
	switch {
	case own == "" && lasting:
		return nil // nobody had it, and the lease of that name is the provider's
	case own == "":
		own = string(c.Machine)
	}
	var left []string
	for _, name := range append(names, own) {
		req := wire.LeaseRelease{Name: name, Clean: true}
		if !lasting {
			req.Home, req.Sole = c.Home, true
		}
		var got wire.LeaseReleased
		if err := h.Call(ctx, wire.MethodLeaseRelease, req, &got); err != nil {
			return err
		}
		left = got.Left // the last one tells of all
	}
	if n := list.Others; n > 0 && !lasting {
		left = append(left, fmt.Sprintf("%d leases that are of nobody we know", n))
	}
	if len(left) == 0 {
		return nil
	}
	for i, line := range left {
		left[i] = sanitize.Line(line, maxLeft)
	}
	return fault.New(fault.RemoteFile, "%d things of the claim are left on the machine, the first is %s", len(left), left[0]).
		WithDetail(strings.Join(left[:min(len(left), maxLines)], "\n")).
		WithRemedy("Remove what is named there by hand, or delete the machine.")
}

// What is told of what is left on a machine: the length of a line, and how many.
const (
	maxLeft  = 200
	maxLines = 20
)

func (r *Readier) open(ctx context.Context, c handoff.Claim) (*host.Host, error) {
	return host.Dial(ctx, host.Config{Endpoint: c.Reach(), Agents: r.agents, Reach: r.reach, Log: r.log.With("machine", c.Machine)})
}

// newKey makes the key of one lease.
func newKey() (private machine.Secret, public string, err error) {
	pub, raw, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return private, "", fault.New(fault.Internal, "lease key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(raw, "")
	if err != nil {
		return private, "", fault.New(fault.Internal, "lease key: %w", err)
	}
	line, err := ssh.NewPublicKey(pub)
	if err != nil {
		return private, "", fault.New(fault.Internal, "lease key: %w", err)
	}
	return machine.NewSecret(string(pem.EncodeToMemory(block))), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line))), nil
}
