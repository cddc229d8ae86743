package pools

import (
	"fmt"
	"strings"
	"time"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// A verdict is what becomes of a machine that looks ill.
type verdict int

const (
	tolerated verdict = iota // it may recover
	held                     // too many look ill: what is wrong is probably elsewhere
	givenUp
)

// share is how much of a pool, or of all machines behind one provider, network or proxy, may look ill while machines
// are still given up: a fifth, as in karpenter. It is rounded up, so that one machine always may.
const share = 5

func mayBeIll(known int) int { return (known + share - 1) / share }

// groupsOf returns what a pool's machines share with others, in words; the pool comes first.
func groupsOf(p *v1alpha1.MachinePool) []string {
	groups := []string{poolGroup(p.Name)}
	switch pr := p.Spec.Provider; {
	case pr.Orka != nil:
		groups = append(groups, "Orka "+strings.TrimSuffix(pr.Orka.Endpoint, "/"))
	case pr.QEMU != nil:
		groups = append(groups, "QEMU on the controller's computer")
	}
	if r := p.Spec.Reach; r != nil && r.Network != "" {
		groups = append(groups, "the hub", "network "+r.Network)
	} else if r != nil {
		groups = append(groups, "proxies "+strings.Join(r.Proxies, ", "))
	}
	return groups
}

func poolGroup(pool string) string { return "pool " + pool }

// subjectOf says of a machine what it is and what it shares.
func subjectOf(p *v1alpha1.MachinePool, m *v1alpha1.Machine) subject {
	groups := []string{poolGroup(m.Spec.Pool)}
	if p != nil {
		groups = groupsOf(p)
	}
	return subject{m.UID, m.Name, groups}
}

// judge decides on a machine that looked ill when l was written last. It is given up after several failures in a
// row, over a time that a reboot or a broken link takes, and only while what it shares with others looks well: so no
// single look, no outage and no mistake of the controller's own deletes a pool. Where no machine of the pool looks
// well, which cannot be told from an outage, that takes longer. What the provider and the machine itself say alike,
// that it is gone, counts even then.
func (c *core) judge(l *ledger, p *v1alpha1.MachinePool, m *v1alpha1.Machine) (verdict, string) {
	e := l.get(m.UID)
	ill := l.now().Sub(e.since)
	if e.failures < c.Times.Failures || ill < c.Times.Toleration {
		return tolerated, ""
	}
	if why := c.outage(l, p, e); why != "" {
		if ill >= c.Times.LoneToleration && c.bothSay(m) {
			return givenUp, ""
		}
		return held, why
	}
	if sick, known := l.count(e.groups[0]); sick == known && ill < c.Times.LoneToleration {
		return tolerated, ""
	}
	return givenUp, ""
}

// bothSay tells whether the provider does not have a machine and the machine does not answer either.
func (c *core) bothSay(m *v1alpha1.Machine) bool {
	enough := c.Times.Failures
	return c.stats.checks.get(m.UID).failures >= enough && c.stats.listed.get(m.UID).failures >= enough
}

// outage says why what looks wrong with one machine is probably wrong elsewhere; "": nothing points to that.
func (c *core) outage(l *ledger, p *v1alpha1.MachinePool, e entry) string {
	if e.onTheWay {
		return "the way to the machines is broken: " + e.words
	}
	if p != nil {
		if err := c.stats.surveyError(p); err != nil {
			return "the provider does not answer as it should: " + err.Error()
		}
	}
	for _, group := range e.groups {
		if ill, known := l.count(group); ill > mayBeIll(known) {
			return fmt.Sprintf("%d of %d machines of %s look ill, more than a fifth", ill, known, group)
		}
	}
	return ""
}

// held says why no machine of a pool that looks ill is given up now; "": they are.
func (c *core) held(p *v1alpha1.MachinePool) string {
	for _, l := range []*ledger{c.stats.checks, c.stats.listed} {
		for _, e := range l.ill(poolGroup(p.Name)) {
			if why := c.outage(l, p, e); why != "" {
				return why
			}
		}
	}
	return ""
}

// Reasons of a pool's condition MachinesHealthy.
const (
	reasonHealthy = "Healthy"
	reasonIll     = "MachinesUnhealthy"
	reasonHeld    = "ReplacementStopped"
)

// healthCondition says which machines look ill, and what becomes of them. Its words change only with that.
func (c *core) healthCondition(p *v1alpha1.MachinePool) (ok bool, reason, message string) {
	ill := map[string]entry{}
	var names []string
	for _, l := range []*ledger{c.stats.listed, c.stats.checks} {
		for _, e := range l.ill(poolGroup(p.Name)) {
			if _, has := ill[e.name]; !has {
				names = append(names, e.name)
			}
			ill[e.name] = e
		}
	}
	if len(names) == 0 {
		return true, reasonHealthy, ""
	}
	const named = 5
	var each []string
	for _, name := range names[:min(named, len(names))] {
		e := ill[name]
		each = append(each, fmt.Sprintf("%s since %s (%s)", name, e.since.UTC().Format(time.RFC3339), e.kind))
	}
	if more := len(names) - len(each); more > 0 {
		each = append(each, fmt.Sprintf("%d more", more))
	}
	list := strings.Join(each, ", ")
	if why := c.held(p); why != "" {
		return false, reasonHeld, fmt.Sprintf(
			"%s; no machine is replaced until that is over, but one whose object is deleted: %s", why, list)
	}
	return false, reasonIll, fmt.Sprintf(
		"%s; a machine is replaced when it was ill for %s, or %s while none of the pool looks well",
		list, c.Times.Toleration, c.Times.LoneToleration)
}

// illOf is how many machines of a pool look ill.
func (c *core) illOf(p *v1alpha1.MachinePool) int {
	ill := map[string]bool{}
	for _, l := range []*ledger{c.stats.checks, c.stats.listed} {
		for _, e := range l.ill(poolGroup(p.Name)) {
			ill[e.name] = true
		}
	}
	return len(ill)
}

// again notes that a machine which is not prepared yet looks bad, and tells whether to look again before it is
// given up: a provider may not know a machine at once that it has just made, and a login may come a moment later
// than SSH. Nobody has the machine, so only a few looks are waited for.
func (c *core) again(m *v1alpha1.Machine, err error) bool {
	c.stats.starting.failed(subject{uid: m.UID, name: m.Name}, c.Times.Check, err)
	return c.stats.starting.get(m.UID).failures < c.Times.Failures
}
