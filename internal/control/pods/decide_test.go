package pods

import (
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/api/v1alpha1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	for _, tt := range []struct{ name, have, want string }{
		{"a gated Pod gets a claim", "pod gated", "create"},
		{"a Pod that is going gets none", "pod gated leaving=-10s", "nothing"},
		{"a Pod that was refused gets none", "pod gated failed", "nothing"},
		{"a Pod with the label alone is none of ours", "pod", "nothing"},
		{"a request that cannot be fails the Pod", "pod gated wrong", "fail BadRequest: wrong"},
		{"but not one that would be made again for ever", "pod gated wrong always", "tell waits BadRequest: wrong (warning)"},
		{"who is told that hears it once", "pod gated wrong always told=BadRequest:wrong", "nothing"},
		{"a claim that was deleted under a running Pod is not made again", "pod placed machine=m1",
			"tell waits ClaimDeleted: the MachineClaim was deleted, and machine m1 was given back with it (warning)"},

		{"a claim that nobody has looked at says nothing yet", "pod gated\nclaim", "nothing"},
		{"one that waits tells its Pod why", "pod gated\nclaim why=PoolAtMax:third", "tell waits PoolAtMax: third"},
		{"once", "pod gated told=PoolAtMax:third\nclaim why=PoolAtMax:third", "nothing"},
		{"numbers change faster than is written", "pod gated told=PoolAtMax:third@4s\nclaim why=PoolAtMax:second", "nothing, again in 6s"},
		{"after a while they are", "pod gated told=PoolAtMax:third@10s\nclaim why=PoolAtMax:second", "tell waits PoolAtMax: second"},
		{"another reason is told at once", "pod gated told=PoolAtMax:third@1s\nclaim why=MachineStarting:first", "tell waits MachineStarting: first"},

		{"a pool that is no more is told", "pod gated\nclaim why=PoolNotFound:none", "tell waits PoolNotFound: none"},
		{"one that is made anew may come", "pod gated told=PoolNotFound:none@1m\nclaim why=PoolNotFound:none", "nothing, again in 4m0s"},
		{"but not for ever", "pod gated told=PoolDeleted:none@5m\nclaim why=PoolDeleted:none",
			"fail PoolDeleted: none; waited for another of that name for 5m0s"},
		{"who would be made again at once waits", "pod gated always told=PoolNotFound:none@5m\nclaim why=PoolNotFound:none", "nothing"},

		{"a bound machine is handed over", "pod gated\nclaim bound=m1", "hand over"},
		{"what died after the gate is made complete", "pod placed machine=m1\nclaim bound=m1", "hand over"},
		{"then the Pod says so", "pod machine=m1\nclaim bound=m1 ready", "tell bound Bound: machine m1 of pool p"},
		{"and that is all", "pod placed machine=m1 told=+Bound:machine_m1_of_pool_p\nclaim bound=m1 ready", "nothing"},
		{"a machine that is lost before the Pod began is replaced", "pod gated\nclaim bound=m1 lost=MachineLost:gone",
			"drop MachineLost: gone; the Pod gets another machine"},
		{"one that is lost later is told", "pod placed machine=m1\nclaim bound=m1 ready lost=MachineLost:gone", "tell waits MachineLost: gone"},
		{"a claim that was released before the Pod began is made anew", "pod gated\nclaim released",
			"drop ClaimReleased: the claim was released before the Pod began: it gets another"},

		{"a claim that failed fails the Pod", "pod gated\nclaim refused why=UnknownImage:no_xcode-99", "fail UnknownImage: no xcode-99"},
		{"but not one that would be made again for ever", "pod gated always\nclaim refused why=UnknownImage:no_xcode-99",
			"tell waits UnknownImage: no xcode-99 (warning)"},
		{"after that nothing is left to do", "pod gated failed\nclaim refused why=UnknownImage:no_xcode-99", "nothing"},

		{"all has ended", "pod placed succeeded\nclaim bound=m1 ready", "release PodSucceeded: all that ran on the machine has ended"},
		{"it has failed", "pod placed failed\nclaim bound=m1 ready", "release PodFailed: it broke"},
		{"it has failed before it had a machine", "pod gated failed\nclaim why=PoolAtMax:third", "release PodFailed: it broke"},
		{"a failure keeps the machine", "pod placed failed ended=1m\nclaim bound=m1 ready keep=30m",
			"keep Kept: it broke; machine m1 is kept until 2026-01-02T12:29:00Z: delete the Pod to give it back"},
		{"for as long as was asked", "pod placed failed ended=1m\nclaim bound=m1 ready keep=30m kept=1m", "nothing, again in 29m0s"},
		{"and not longer", "pod placed failed ended=30m\nclaim bound=m1 ready keep=30m kept=29m", "release Kept: it broke; the machine was kept for 30m0s"},
		{"nobody knows when it failed", "pod placed failed\nclaim bound=m1 ready keep=30m kept=29m", "nothing, again in 1m0s"},
		{"a success keeps nothing", "pod placed succeeded ended=1m\nclaim bound=m1 ready keep=30m", "release PodSucceeded: all that ran on the machine has ended"},
		{"who deletes the Pod wants it no more", "pod placed failed ended=1m leaving=10s\nclaim bound=m1 ready keep=30m kept=1m", "release PodFailed: it broke"},
		{"a machine that is lost is not kept", "pod placed failed ended=1m\nclaim bound=m1 ready keep=30m lost=MachineLost:gone", "release PodFailed: it broke"},

		{"a Pod that is deleted in the queue leaves it", "pod gated leaving=0s\nclaim why=PoolAtMax:third", "release PodDeleted: the Pod was deleted before it began"},
		{"or before it has a node", "pod machine=m1 leaving=0s\nclaim bound=m1 ready", "release PodDeleted: the Pod was deleted before it began"},
		{"what runs has its grace period", "pod placed leaving=-20s\nclaim bound=m1 ready", "nothing, again in 5m20s"},
		{"and some more until its node says that it has ended", "pod placed leaving=4m\nclaim bound=m1 ready", "nothing, again in 1m0s"},
		{"a node that is silent holds no machine for ever", "pod placed leaving=5m\nclaim bound=m1 ready",
			"release NodeSilent: the Pod was to be gone 5m0s ago, and its node does not say that its containers have ended"},
		{"it ends within the grace period", "pod placed failed leaving=-20s\nclaim bound=m1 ready", "release PodFailed: it broke"},

		{"a Pod that is gone releases at once", "gone\nclaim bound=m1 ready", "drop PodGone: the Pod is gone"},
		{"also in the queue", "gone\nclaim why=PoolAtMax:third", "drop PodGone: the Pod is gone"},
		{"also one that was released", "gone\nclaim released", "drop PodGone: the Pod is gone"},
		{"a claim that is going is left alone", "gone\nclaim bound=m1 leaving", "nothing"},
		{"a claim that is over stays with its Pod", "pod placed succeeded\nclaim released", "nothing"},

		{"two Pods never share a claim", "pod gated\nclaim bound=m1 of=other",
			"tell waits ClaimTaken: the MachineClaim that this Pod names is held by Pod other: it waits until that one is gone (warning)"},
		{"nor does the other's end matter", "pod placed succeeded\nclaim bound=m1 of=other", "nothing"},

		{"a PipelineRun that waits is not told", "run\nclaim why=PoolAtMax:third", "nothing"},
		{"its machine is handed over", "run\nclaim bound=m1", "hand over"},
		{"and that is all", "run\nclaim bound=m1 ready", "nothing"},
		{"also if the machine is lost, which the claim says", "run\nclaim bound=m1 ready lost=MachineLost:gone", "nothing"},
		{"or the claim has failed", "run\nclaim refused why=UnknownImage:no_xcode-99", "nothing"},
		{"a pool that is no more is waited for as long as the run does", "run told=PoolNotFound:none@5m\nclaim why=PoolNotFound:none", "nothing"},
		{"it succeeds", "run succeeded\nclaim bound=m1 ready", "release PipelineRunSucceeded: all that ran on the machine has ended"},
		{"it is cancelled, and no Task has given the machine back", "run failed\nclaim bound=m1 ready", "release PipelineRunFailed: it broke"},
		{"it is cancelled in the queue", "run failed\nclaim why=PoolAtMax:third", "release PipelineRunFailed: it broke"},
		{"its failure keeps the machine", "run failed ended=1m\nclaim bound=m1 ready keep=30m",
			"keep Kept: it broke; machine m1 is kept until 2026-01-02T12:29:00Z: delete the PipelineRun to give it back"},
		{"for as long as was asked", "run failed ended=31m\nclaim bound=m1 ready keep=30m kept=31m", "release Kept: it broke; the machine was kept for 30m0s"},
		{"it is deleted", "run gone\nclaim bound=m1 ready", "drop PipelineRunGone: the PipelineRun is gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := words(Decide(parse(t, tt.have))); got != tt.want {
				t.Errorf("got  %s\nwant %s\ngiven:\n%s", got, tt.want, tt.have)
			}
		})
	}
}

// parse reads a snapshot:
//
//	pod gated placed always wrong succeeded|failed ended=AGO leaving=AGO machine=NAME told=[+]REASON:MESSAGE[@AGO]
//	claim bound=MACHINE|released|refused ready lost=REASON:MESSAGE why=REASON:MESSAGE keep=D kept=AGO of=POD leaving
//
// An underscore is a blank. "gone" is a Pod that does not exist. "run" instead of "pod" is a PipelineRun.
func parse(t *testing.T, text string) Snapshot {
	t.Helper()
	s := Snapshot{Now: noon}
	ago := func(word string) time.Time { return noon.Add(-duration(t, word)) }
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if f[0] == "pod" {
			s.Pod = Pod{There: true, Finishes: true}
		}
		if f[0] == "run" {
			s.Pod = Pod{Kind: "PipelineRun", There: true, Placed: true, Finishes: true}
			f[0] = "pod"
		}
		if f[0] == "claim" {
			s.Claim = Claim{There: true, Mine: s.Pod.There, Pool: "p"}
		}
		for _, word := range f[1:] {
			key, value, _ := strings.Cut(word, "=")
			key = f[0] + " " + key
			p, c := &s.Pod, &s.Claim
			switch key {
			case "pod gone":
				p.There = false
			case "pod gated":
				p.Gated = true
			case "pod placed":
				p.Placed = true
			case "pod always":
				p.Finishes = false
			case "pod wrong":
				p.Wrong = "wrong"
			case "pod succeeded":
				p.End = Succeeded
			case "pod failed":
				p.End, p.Failure = Failed, "it broke"
			case "pod ended":
				p.EndedAt = ago(value)
			case "pod leaving":
				p.Leaves = ago(value)
			case "pod machine":
				p.Machine = value
			case "pod told":
				what, when, _ := strings.Cut(value, "@")
				if when == "" {
					when = "1m"
				}
				what, p.Told.Bound = strings.CutPrefix(what, "+")
				p.Told.Reason, p.Told.Message = said(what)
				p.Told.At = ago(when)
			case "claim bound":
				c.Phase, c.Machine, c.Reason = v1alpha1.ClaimBound, value, "Bound"
			case "claim released":
				c.Phase = v1alpha1.ClaimReleased
			case "claim refused":
				c.Phase = v1alpha1.ClaimFailed
			case "claim ready":
				c.Ready = true
			case "claim lost":
				c.Lost = true
				c.Reason, c.Message = said(value)
			case "claim why":
				c.Reason, c.Message = said(value)
			case "claim keep":
				c.Keep = duration(t, value)
			case "claim kept":
				c.KeptSince = ago(value)
			case "claim of":
				c.Mine, c.Holder = false, "Pod "+value
			case "claim leaving":
				c.Leaving = true
			default:
				t.Fatalf("no such word: %s", key)
			}
		}
	}
	return s
}

func said(word string) (reason, message string) {
	reason, message, _ = strings.Cut(strings.ReplaceAll(word, "_", " "), ":")
	return reason, message
}

func duration(t *testing.T, word string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(word)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func words(s Step) string {
	text := string(s.Do)
	if s.Do == Nothing {
		text = "nothing"
	}
	if s.Do == Tell {
		text += map[bool]string{true: " bound", false: " waits"}[s.Bound]
	}
	if s.Reason != "" {
		text += " " + s.Reason + ": " + s.Message
	}
	if s.Warn {
		text += " (warning)"
	}
	if !s.Again.IsZero() {
		text += ", again in " + s.Again.Sub(noon).String()
	}
	return text
}
