package doctor

import (
	"fmt"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/doctor"
)

// beside has a Pod's results written beside those from here.
func (s *sheet) beside(namespace string) {
	s.namespace = namespace
	s.title += ", from here and from a Pod in namespace " + namespace
}

// fromPod writes a result of a Pod, beside the one from here. What only is from here comes before it.
func (s *sheet) fromPod(r doctor.Result) {
	s.count(r)
	s.pod = append(s.pod, r)
	if s.json {
		s.line(Line{Event: "check", From: "pod", Result: &r})
		return
	}
	i := slices.IndexFunc(s.here, func(h doctor.Result) bool { return h.Subject == r.Subject && h.Check == r.Check })
	if i < 0 {
		s.pair(nil, &r)
		return
	}
	for s.shown < i {
		s.pair(&s.here[s.shown], nil)
		s.shown++
	}
	s.pair(&s.here[i], &r)
	s.shown = max(s.shown, i+1)
}

// rest writes what is only from here.
func (s *sheet) rest() {
	for !s.json && s.namespace != "" && s.shown < len(s.here) {
		s.pair(&s.here[s.shown], nil)
		s.shown++
	}
}

// pair writes one line of two results, of which one may be missing.
func (s *sheet) pair(here, pod *doctor.Result) {
	r := here
	if r == nil {
		r = pod
	}
	if s.last == "" {
		s.printf("%-*s  %-*s\n", stateWidth, "HERE", stateWidth, "POD")
	}
	s.heading(r.Subject)
	s.printf("%s  %s  %-*s  %s\n", s.stateOr(here), s.stateOr(pod), checkWidth, r.Check, visible(r.Found))
	if here != nil && pod != nil && here.Found != pod.Found && (here.State != doctor.OK || pod.State != doctor.OK) {
		s.printf("%s  %s\n", strings.Repeat(" ", 2*(stateWidth+2)+checkWidth), "in the Pod: "+visible(pod.Found))
	}
	if here != nil {
		s.explain(*here)
	}
	if pod != nil && (here == nil || here.Reason != pod.Reason || here.State != pod.State) {
		s.explain(*pod)
	}
}

func (s *sheet) stateOr(r *doctor.Result) string {
	if r == nil {
		return fmt.Sprintf("%-*s", stateWidth, "-")
	}
	return s.state(r.State)
}

// differs writes what is reached from here or from a Pod, and not from both.
func (s *sheet) differs(d doctor.Difference) {
	if s.json {
		s.line(Line{Event: "differs", Checks: d.Checks, Result: &doctor.Result{Found: d.Found, Cause: d.Cause, Cure: d.Cure}})
		return
	}
	s.printf("\n%s\n", visible(d.Found))
	s.below("checks", strings.Join(d.Checks, ", "))
	s.below("cause", d.Cause)
	s.below("cure", d.Cure)
}
