package pods

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		{"a run that has no node has its machine for as long as it runs", "run\nclaim bound=m1 ready=2h\npool schedule=15m", "nothing"},
		{"it is deleted", "run gone\nclaim bound=m1 ready", "drop PipelineRunGone: the PipelineRun is gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := words(Decide(parse(t, tt.have))); got != tt.want {
				t.Errorf("got  %s\nwant %s\ngiven:\n%s", got, tt.want, tt.have)
			}
		})
	}
}

// A machine is held for so long by a Pod that no node takes, and kept for so long after the Pod.
func TestHowLongAMachineIsHeld(t *testing.T) {
	told := " told=+Bound:machine_m1_of_pool_p"
	for _, tt := range []struct{ name, have, want string }{
		{"no node has taken the Pod yet", "pod machine=m1" + told + "\nclaim bound=m1 ready=14m\npool schedule=15m", "nothing, again in 1m0s"},
		{"none takes it", "pod machine=m1 unplaced=0/3_nodes_are_available" + told + "\nclaim bound=m1 ready=15m\npool schedule=15m",
			"fail NotScheduled: no node has taken the Pod within 15m0s after it got machine m1, which is given back: 0/3 nodes are available"},
		{"none takes one that is always restarted", "pod always machine=m1 unplaced=no" + told + "\nclaim bound=m1 ready=15m\npool schedule=15m",
			"fail NotScheduled: no node has taken the Pod within 15m0s after it got machine m1, which is given back: no"},
		{"a node has taken it", "pod placed machine=m1" + told + "\nclaim bound=m1 ready=15h\npool schedule=15m", "nothing"},
		{"what failed so keeps nothing", "pod failed machine=m1\nclaim bound=m1 ready=15m keep=30m\npool schedule=15m", "release PodFailed: it broke"},
		{"results are left, and nothing failed", "pod placed succeeded ended=1m left=two_files\nclaim bound=m1 ready\npool results=2h keep=24h",
			"keep Kept: not all results came back: two files; machine m1 is kept until 2026-01-02T13:59:00Z: delete the Pod to give it back"},
		{"then they are kept for so long", "pod placed failed ended=119m left=two_files\nclaim bound=m1 ready kept=119m\npool results=2h keep=24h", "nothing, again in 1m0s"},
		{"and no longer", "pod placed failed ended=2h left=two_files\nclaim bound=m1 ready kept=2h\npool results=2h keep=24h",
			"release Kept: not all results came back: two files; the machine was kept for 2h0m0s"},
		{"the longer of both counts", "pod placed failed ended=3h left=x\nclaim bound=m1 ready keep=4h kept=3h\npool results=2h keep=24h", "nothing, again in 1h0m0s"},
		{"the pool allows less", "pod placed failed ended=1h\nclaim bound=m1 ready keep=20h kept=1h\npool results=2h keep=1h",
			"release Kept: it broke; the machine was kept for 1h0m0s"},
		{"the pool keeps enough", "pod placed failed ended=1m left=x\nclaim bound=m1 ready\npool results=2h keep=24h full=3_of_3",
			"release PodEnded: not all results came back: x; the machine is not kept: 3 of 3 (warning)"},
		{"enough for results alone", "pod placed failed ended=1m left=x\nclaim bound=m1 ready\npool results=2h keep=24h fullofresults=3_of_3",
			"release PodEnded: not all results came back: x; the machine is not kept: 3 of 3 (warning)"},
		{"but not for who asks for it", "pod placed failed ended=1m left=x\nclaim bound=m1 ready keep=30m kept=1m\npool results=20m keep=24h fullofresults=3_of_3",
			"nothing, again in 29m0s"},
		{"this one is one of them", "pod placed failed ended=1m left=x\nclaim bound=m1 ready kept=1m\npool results=2h keep=24h full=3_of_3", "nothing, again in 1h59m0s"},
		{"somebody has seen it and deletes the Pod", "pod placed failed ended=1m left=x leaving=1s\nclaim bound=m1 ready kept=1m\npool results=2h",
			"release PodFailed: it broke"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := words(Decide(parse(t, tt.have))); got != tt.want {
				t.Errorf("got  %s\nwant %s\ngiven:\n%s", got, tt.want, tt.have)
			}
		})
	}
}

// What a relay says of results is found where it can put it, and nowhere else.
func TestResultsLeft(t *testing.T) {
	for message, want := range map[string]string{
		"":                                    "",
		"all is well":                         "",
		"outrigger.dev/results-left: a, b\n":  "a, b",
		"x\noutrigger.dev/results-left: a\ny": "a",
		"see outrigger.dev/results-left: a":   "",
		`[{"key":"commit","value":"1","type":1},{"key":"outrigger.dev/results-left","value":"a \"b\"","type":3}]`: `a "b"`,
		`[{"key":"commit","value":"outrigger.dev/results-left: a","type":1}]`:                                     "",
		`[{"key":5}]`: "",
	} {
		if got := leftIn(message); got != want {
			t.Errorf("%q: got %q, want %q", message, got, want)
		}
	}
}

func TestLimitsOfAPool(t *testing.T) {
	most := func(n int32) *v1alpha1.KeepSpec { return &v1alpha1.KeepSpec{Max: &n} }
	for _, tt := range []struct {
		name          string
		spec          v1alpha1.MachinePoolSpec
		kept          int
		full, results bool
	}{
		{"a quarter may be kept for results", v1alpha1.MachinePoolSpec{Max: 12}, 2, false, false},
		{"and no more, but for who asks", v1alpha1.MachinePoolSpec{Max: 12}, 3, false, true},
		{"one always", v1alpha1.MachinePoolSpec{Max: 1}, 0, false, false},
		{"none, says the pool", v1alpha1.MachinePoolSpec{Max: 100, Keep: most(0)}, 0, true, true},
		{"many, says the pool", v1alpha1.MachinePoolSpec{Max: 8, Keep: most(8)}, 7, false, false},
		{"for no time", v1alpha1.MachinePoolSpec{Max: 8, Keep: &v1alpha1.KeepSpec{MaxDuration: &metav1.Duration{}}}, 0, true, false},
	} {
		if l := limitsOf(tt.spec, tt.kept); (l.Full != "") != tt.full || (l.FullOfResults != "") != tt.results || l.Schedule != defaultSchedule {
			t.Errorf("%s: %+v", tt.name, l)
		}
	}
}

// parse reads a snapshot:
//
//	pod gated placed always wrong succeeded|failed ended=AGO leaving=AGO machine=NAME told=[+]REASON:MESSAGE[@AGO]
//	    left=TEXT unplaced=TEXT
//	claim bound=MACHINE|released|refused ready=[AGO] lost=REASON:MESSAGE why=REASON:MESSAGE keep=D kept=AGO of=POD leaving
//	pool schedule=D keep=D results=D full=WHY fullofresults=WHY
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
			case "pod left":
				p.Left = strings.ReplaceAll(value, "_", " ")
			case "pod unplaced":
				p.Unplaced = strings.ReplaceAll(value, "_", " ")
			case "pool schedule":
				c.Limits.Schedule = duration(t, value)
			case "pool keep":
				c.Limits.Keep = duration(t, value)
			case "pool results":
				c.Limits.Results = duration(t, value)
			case "pool full":
				c.Limits.Full = strings.ReplaceAll(value, "_", " ")
				c.Limits.FullOfResults = c.Limits.Full
			case "pool fullofresults":
				c.Limits.FullOfResults = strings.ReplaceAll(value, "_", " ")
			case "claim bound":
				c.Phase, c.Machine, c.Reason = v1alpha1.ClaimBound, value, "Bound"
			case "claim released":
				c.Phase = v1alpha1.ClaimReleased
			case "claim refused":
				c.Phase = v1alpha1.ClaimFailed
			case "claim ready":
				c.Ready = true
				if value != "" {
					c.ReadyAt = ago(value)
				}
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
