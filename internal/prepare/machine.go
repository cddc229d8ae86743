package prepare

import (
	"context"
	"fmt"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
)

// A Visit is one preparing of a machine.
type Visit struct {
	Endpoint machine.Endpoint // how to log in the first time
	Key      machine.Secret   // the private half of Want.Key
	Want     Want             // without Agent and AgentRoot, which the visit finds out
	Agents   deliver.Source
	Reach    reach.Options
	// Patience is how long the first login may be refused: sshd of a machine that was just
	// made answers before its accounts are known.
	Patience time.Duration
}

// Ready is what a visit found.
type Ready struct {
	Report
	Endpoint machine.Endpoint // how to log in from now on
	Agent    deliver.Agent
	Session  string // what runs will be in
}

// Machine logs in the first way, puts the key in, logs in with it, puts the agent in
// place and takes the rest of the steps. What a machine lacks is in the report;
// an error means that it could not be asked. Where claims have a user of their own, the first login makes that
// user and takes the steps about the computer, and the key is that user's.
func Machine(ctx context.Context, v Visit) (Ready, error) {
	first, rest := Entry(Plan(v.Want.OS))
	if v.Want.Separate {
		first, rest = Hosted(Plan(v.Want.OS))
	}
	ready := Ready{Endpoint: v.Endpoint}
	let := func() error {
		return v.with(ctx, v.Endpoint, func(c *reach.Client) error {
			var err error
			ready.Report, err = Run(ctx, Over(c), first, v.Want)
			if err == nil && v.Want.Separate && ready.Err() == nil {
				ready.Endpoint.User, err = slotUser(ctx, Over(c), v.Want)
				ready.Endpoint.Root = "" // that one is the login's
			}
			return err
		})
	}
	err := let()
	for deadline := time.Now().Add(v.Patience); fault.Is(err, fault.AuthRefused) && time.Now().Before(deadline); {
		select {
		case <-time.After(lookPause):
			err = let()
		case <-ctx.Done():
			return ready, err
		}
	}
	if err != nil || ready.Err() != nil {
		return ready, err
	}
	return ready, v.enter(ctx, &ready, rest)
}

// enter logs in with the key, puts the agent in place and takes the rest of the steps.
func (v Visit) enter(ctx context.Context, ready *Ready, rest []Step) error {
	ready.Endpoint.Auth = machine.Auth{Keys: []machine.Secret{v.Key}}
	if v.Want.Separate {
		v.Want.Password = machine.Secret{} // the login's, which this user has no use for
	}
	err := v.with(ctx, ready.Endpoint, func(c *reach.Client) error {
		if v.Want.Separate {
			ready.Findings = replaced(ready.Findings, Finding{Condition: KeyLogin, OK: true, Reason: "Installed"})
		}
		var err error
		if ready.Agent, err = deliver.Put(ctx, c, v.Agents, ready.Endpoint.Root); err != nil {
			return err
		}
		v.Want.Agent, v.Want.AgentRoot = ready.Agent.Path, ready.Agent.Root
		if v.Want.AgentRoot, err = resolve(ctx, Over(c), v.Want); err != nil {
			return err
		}
		more, err := Run(ctx, Over(c), rest, v.Want)
		ready.Power, ready.Findings = more.Power, append(ready.Findings, more.Findings...)
		if err != nil {
			return err
		}
		ready.Session, err = sessionOf(ctx, Over(c), v.Want, more.Power)
		return err
	})
	if fault.Is(err, fault.AuthRefused) {
		ready.Findings = replaced(ready.Findings, Finding{Condition: KeyLogin, Reason: "Refused", Message: err.Error(), Unfit: true})
		err = nil
	}
	return err
}

// replaced puts a finding in the place of an earlier one of the same condition.
func replaced(all []Finding, f Finding) []Finding {
	for i := range all {
		if all[i].Condition == f.Condition {
			all[i] = f
			return all
		}
	}
	return append(all, f)
}

// Renew takes back what a claim must not leave to the next, and, if the machine is to
// serve again, gives it the visit's key in the place of the old one and makes the rest
// anew. own is how the machine is entered since it was prepared. What needs root is done only where sudo asks for no
// password: the claim's code may have changed what the login executes.
func Renew(ctx context.Context, v Visit, own machine.Endpoint, again bool) (Report, error) {
	var undone, anew []Step
	for _, s := range Plan(v.Want.OS) {
		undo := s.Undo != nil && (s.Wanted == nil || s.Wanted(v.Want))
		if undo {
			undone = append(undone, s)
		}
		if undo || s.Condition == KeyLogin {
			anew = append(anew, s)
		}
	}
	if !again {
		anew = nil
	}
	if v.Want.Separate {
		return v.renewSlot(ctx, own, again)
	}
	v.Want.Tenants = true
	var report Report
	if len(undone)+len(anew) == 0 {
		return report, nil
	}
	err := v.with(ctx, own, func(c *reach.Client) error {
		if err := Undo(ctx, Over(c), undone, v.Want); err != nil {
			return err
		}
		var err error
		report, err = Run(ctx, Over(c), anew, v.Want)
		return err
	})
	return report, err
}

// Depart takes back what must not outlast the machine on a host that goes on. It logs in
// as a machine is entered the first time, or where that is refused with own, if given.
func Depart(ctx context.Context, v Visit, own *machine.Endpoint) error {
	do := func(c *reach.Client) error { return Leave(ctx, Over(c), Plan(v.Want.OS), v.Want) }
	err := v.with(ctx, v.Endpoint, do)
	if fault.Is(err, fault.AuthRefused) && own != nil && !v.Want.Separate {
		err = v.with(ctx, *own, do)
	}
	return err
}

func (v Visit) with(ctx context.Context, ep machine.Endpoint, do func(*reach.Client) error) error {
	c, err := reach.Dial(ctx, ep, v.Reach)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

// resolve finds the folder that the agent has, which follows links on the way to it.
func resolve(ctx context.Context, sh Shell, w Want) (string, error) {
	if w.OS == "windows" {
		return w.AgentRoot, nil
	}
	r := runner{sh: sh, want: w}
	out, _, err := r.script(ctx, Script{Text: fmt.Sprintf(`cd %s && echo "root=$(pwd -P)"`, quote(w.AgentRoot))})
	if err != nil {
		return "", err
	}
	root := parse(out.Stdout)["root"]
	if root == "" {
		return "", fault.New(fault.AgentUnfit, "the machine does not say where the agent's folder %s is: exit code %d: %s", w.AgentRoot, out.Exit, words(out))
	}
	return root, nil
}

// sessionOf asks the agent in which session runs will be.
func sessionOf(ctx context.Context, sh Shell, w Want, p Power) (string, error) {
	script := fmt.Sprintf("%s status --root %s", quote(w.Agent), quote(w.AgentRoot))
	if w.OS == "windows" {
		script = fmt.Sprintf("& %s status --root %s\n", quotePS(w.Agent), quotePS(w.AgentRoot))
	}
	r := runner{sh: sh, want: w, power: p}
	out, _, err := r.script(ctx, Script{Text: script})
	if err != nil {
		return "", err
	}
	kind := parse(out.Stdout)["session"]
	if kind == "" {
		return "", fault.New(fault.AgentUnfit, "the agent does not say in which session it runs: exit code %d: %s", out.Exit, words(out))
	}
	return kind, nil
}
