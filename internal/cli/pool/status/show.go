package status

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/cli/table"
	"outrigger.dev/outrigger/internal/sanitize"
)

// eventsShown is what people are shown of the events: the last ones.
const eventsShown = 10

// split returns the claims that wait, the next one first, and those that have a
// machine, the oldest first. Those that are over are neither.
func split(claims []v1alpha1.MachineClaim) (queue, holding []v1alpha1.MachineClaim) {
	queue, holding = []v1alpha1.MachineClaim{}, []v1alpha1.MachineClaim{}
	for _, c := range claims {
		switch c.Status.Phase {
		case "", v1alpha1.ClaimQueued:
			queue = append(queue, c)
		case v1alpha1.ClaimBound:
			holding = append(holding, c)
		}
	}
	slices.SortStableFunc(queue, func(a, b v1alpha1.MachineClaim) int {
		return cmp.Or(cmp.Compare(last(a.Status.Position), last(b.Status.Position)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time))
	})
	slices.SortStableFunc(holding, func(a, b v1alpha1.MachineClaim) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return queue, holding
}

// last puts who has no position yet behind those who have.
func last(position int32) int64 {
	if position == 0 {
		return 1 << 32
	}
	return int64(position)
}

// show prints r for people.
func show(w io.Writer, r Result, now time.Time) error {
	if _, err := io.WriteString(w, sanitize.Text(summary(r.Pool), 4<<10)); err != nil {
		return err
	}
	for _, part := range []struct {
		title string
		table table.Table
	}{
		{"Conditions", conditions(r.Pool.Status.Conditions, now)},
		{"Machines", machines(r, now)},
		{"Queue", queue(r.Queue, now)},
		{"Last events", events(r, now)},
	} {
		if len(part.table.Rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", part.title); err != nil {
			return err
		}
		if err := part.table.Write(w); err != nil {
			return err
		}
	}
	return nil
}

func summary(p *v1alpha1.MachinePool) string {
	var b strings.Builder
	var warm int32
	if p.Spec.Warm != nil {
		warm = *p.Spec.Warm
	}
	s := p.Status
	fmt.Fprintf(&b, "%s: %s/%s machines%s of %s\n", p.Name, p.Spec.OS, p.Spec.Arch, from(cmp.Or(p.Status.Image, p.Spec.Image)), provider(p.Spec.Provider))
	fmt.Fprintf(&b, "%d idle (%d wanted), %d in use, %d starting, %d failed; %d in all, at most %d; %s\n",
		s.Idle, warm, s.Leased, s.Starting, s.Failed, s.Machines, p.Spec.Max, wait(s.Queued))
	var known []string
	if s.StartTime != nil {
		known = append(known, "a machine takes about "+about(s.StartTime)+" to start")
	}
	if s.LeaseTime != nil {
		known = append(known, "a claim holds one for about "+about(s.LeaseTime))
	}
	if len(known) > 0 {
		b.WriteString(strings.Join(known, ", ") + "\n")
	}
	return b.String()
}

func from(image string) string {
	if image == "" {
		return ""
	}
	return " from " + image
}

func provider(p v1alpha1.ProviderSpec) string {
	switch {
	case p.QEMU != nil:
		return "qemu"
	case p.SSH != nil:
		return fmt.Sprintf("ssh, %d hosts", len(p.SSH.Hosts))
	case p.Local != nil:
		return "local"
	}
	return "no provider"
}

func wait(n int32) string {
	switch n {
	case 0:
		return "nobody waits"
	case 1:
		return "1 claim waits"
	}
	return fmt.Sprintf("%d claims wait", n)
}

func about(d *metav1.Duration) string {
	return table.Age(time.Unix(0, 0), time.Unix(0, 0).Add(d.Duration))
}

func conditions(all []metav1.Condition, now time.Time) table.Table {
	t := table.Table{Columns: []string{"TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"}}
	for _, c := range all {
		t.Add(c.Type, string(c.Status), c.Reason, table.Age(c.LastTransitionTime.Time, now), c.Message)
	}
	return t
}

func machines(r Result, now time.Time) table.Table {
	t := table.Table{Columns: []string{"NAME", "PHASE", "SINCE", "USES", "HOLDER", "ADDRESS", "MESSAGE"}}
	holder := map[string]string{} // by UID of the claim
	for _, c := range r.Holding {
		holder[string(c.UID)] = who(c)
	}
	for _, m := range r.Machines {
		phase := m.Status.Phase
		if phase == "" {
			phase = v1alpha1.MachinePending
		}
		var has, address, message string
		if ref := m.Spec.Claim; ref != nil {
			if has = holder[ref.UID]; has == "" {
				has = ref.Namespace + "/" + ref.Name
			}
		}
		if m.Status.Address != "" {
			address = fmt.Sprintf("%s:%d", m.Status.Address, m.Status.Port)
		}
		if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.MachineReady); c != nil && c.Status != metav1.ConditionTrue {
			message = c.Message
		}
		t.Add(m.Name, string(phase), table.Age(since(m), now), fmt.Sprint(m.Status.Uses), has, address, message)
	}
	return t
}

func queue(claims []v1alpha1.MachineClaim, now time.Time) table.Table {
	t := table.Table{Columns: []string{"POSITION", "HOLDER", "CLAIM", "WAITS", "EXPECTED", "WHY"}}
	for _, c := range claims {
		position, why := "", ""
		if c.Status.Position > 0 {
			position = fmt.Sprint(c.Status.Position)
		}
		if b := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ClaimConditionBound); b != nil {
			why = b.Message
		}
		t.Add(position, who(c), c.Name, table.Age(c.CreationTimestamp.Time, now), c.Status.ExpectedWait, why)
	}
	return t
}

// who is the claim's holder, or itself.
func who(c v1alpha1.MachineClaim) string {
	if c.Spec.Holder != nil {
		return c.Namespace + "/" + c.Spec.Holder.Name
	}
	return c.Namespace + "/" + c.Name
}

func events(r Result, now time.Time) table.Table {
	t := table.Table{Columns: []string{"AGE", "TYPE", "REASON", "MESSAGE"}}
	for _, e := range r.Events[max(0, len(r.Events)-eventsShown):] {
		t.Add(table.Age(kube.When(e), now), e.Type, e.Reason, e.Message)
	}
	return t
}

func since(m v1alpha1.Machine) time.Time {
	if m.Status.PhaseSince == nil {
		return m.CreationTimestamp.Time
	}
	return m.Status.PhaseSince.Time
}
