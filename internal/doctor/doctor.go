// Package doctor says what works of the way to a machine, and why the rest does not.
//
// What it looks at is data: [Place] and [Machine] are tables of checks, in the order in
// which they are made. A check has a name, the checks that it needs, a judge and
// remedies. The judge decides from [Facts] alone; who gathers those (package look)
// decides nothing, and nothing that goes wrong with a look is an error: it is a fact.
// So the same facts are judged alike on a laptop, in a Pod and in a test.
package doctor

import "slices"

// A Check is one row of a table.
type Check struct {
	Name string
	// Needs names checks of the same table. If one of them has failed or was not tried,
	// neither is this one.
	Needs []string
	// Kinds are the providers that it is about; nil: all.
	Kinds []Kind
	// Judge decides from what was seen. Nil facts mean that nothing could be seen.
	Judge func(Facts) Verdict
	// Remedies say for each reason of a failure or a warning what is behind it and what helps.
	// {words} in them are replaced by what the facts say: see Facts.words.
	Remedies map[Reason]Remedy
}

// A Kind is a kind of provider, as the configuration calls it.
type Kind string

// The kinds.
const (
	Local Kind = "local"
	SSH   Kind = "ssh"
	QEMU  Kind = "qemu"
	Orka  Kind = "orka"
)

// A State is how a check came out.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // works, and will not for long, or not as well as it could
	Failed  State = "failed"
	Skipped State = "skipped" // says nothing: Found tells why
)

// A Reason is one word for why a check came out as it did, the same words each time.
type Reason string

// A Verdict is what a judge says.
type Verdict struct {
	State  State
	Reason Reason // of what is not OK
	Found  string
}

// A Remedy is what is behind a failure, as a rule, and what helps.
type Remedy struct {
	Cause, Cure string
}

// A Result is what became of one check.
type Result struct {
	Subject string `json:"subject,omitempty"` // "provider orka", "machine mac-7k2q", "host mini"
	Check   string `json:"check,omitempty"`
	State   State  `json:"state,omitempty"`
	Reason  Reason `json:"reason,omitempty"`
	Found   string `json:"found,omitempty"`
	Cause   string `json:"cause,omitempty"`
	Cure    string `json:"cure,omitempty"`
	Address string `json:"address,omitempty"` // "host:port" that the check was about
	// IPs are what that was connected to, or should have been.
	IPs []string `json:"ips,omitempty"`
}

// Judge decides one check from the facts.
func Judge(c Check, f Facts) Result {
	v := c.Judge(f)
	r := Result{Subject: f.Subject, Check: c.Name, State: v.State, Found: v.Found, Address: f.Target.Address(), IPs: f.ips(c.Name)}
	if v.State == OK {
		return r
	}
	r.Reason = v.Reason
	if m, ok := c.Remedies[v.Reason]; ok {
		fill := f.words()
		r.Cause, r.Cure = fill.Replace(m.Cause), fill.Replace(m.Cure)
	}
	return r
}

// Blocked tells whether a check is not tried after what became of those before it, and
// how that is told.
func Blocked(c Check, f Facts, before []Result) (Result, bool) {
	for _, need := range c.Needs {
		i := slices.IndexFunc(before, func(r Result) bool { return r.Subject == f.Subject && r.Check == need })
		if i < 0 || before[i].State == OK || before[i].State == Warning {
			continue
		}
		var why string
		switch r := before[i]; {
		case r.State == Failed:
			why = "not tried: " + r.Check + " has failed"
		case r.Reason == NotTried:
			why = r.Found
		case r.Reason == KeptBack:
			why = "not tried: " + r.Found
		default:
			continue // it did not apply, which stops nobody
		}
		return Result{Subject: f.Subject, Check: c.Name, State: Skipped, Reason: NotTried, Found: why, Address: f.Target.Address()}, true
	}
	return Result{}, false
}

// For returns the checks of a table that are about a kind of provider.
func For(table []Check, k Kind) []Check {
	var out []Check
	for _, c := range table {
		if c.Kinds == nil || slices.Contains(c.Kinds, k) {
			out = append(out, c)
		}
	}
	return out
}

// Reasons that several checks give.
const (
	NotTried  Reason = "NotTried"  // what it needs has failed
	NotHere   Reason = "NotHere"   // it does not apply
	NoMachine Reason = "NoMachine" // there is none to look at
	Unknown   Reason = "Unknown"   // it cannot be found out
	KeptBack  Reason = "KeptBack"  // what it takes stays elsewhere
)

func ok(found string) Verdict { return Verdict{State: OK, Found: found} }

func failed(why Reason, found string) Verdict { return Verdict{Failed, why, found} }

func warn(why Reason, found string) Verdict { return Verdict{Warning, why, found} }

func skip(why Reason, found string) Verdict { return Verdict{Skipped, why, found} }
