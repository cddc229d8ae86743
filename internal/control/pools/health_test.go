package pools

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/pool"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/reach/via"
)

var noRoute = fault.New(fault.Unreachable, "dial tcp: no route to host")

func unknown(name machine.Name) error {
	return fault.New(fault.UnknownMachine, "no machine %s", name)
}

// What is given up, and when, of a pool of so many machines of which some do not answer.
func TestWhenAMachineIsGivenUp(t *testing.T) {
	network := fault.New(fault.Unreachable, "m0: %w", syscall.ENETUNREACH)
	hub := fault.New(fault.Unreachable, "hub: %w", &via.StepError{Err: errors.New("connection refused")})
	for _, tt := range []struct {
		name     string
		machines int
		sick     int
		err      error
		listErr  error
		after    time.Duration // the sick ones are still there then …
		gone     time.Duration // … and given up then; 0: never, within a day
		reason   string        // of the pool's condition, before that
	}{
		{"one of five", 5, 1, noRoute, nil, 4 * time.Minute, 8 * time.Minute, reasonIll},
		{"one of two", 2, 1, noRoute, nil, 4 * time.Minute, 8 * time.Minute, reasonIll},
		{"two of ten", 10, 2, noRoute, nil, 4 * time.Minute, 8 * time.Minute, reasonIll},
		{"the only one", 1, 1, noRoute, nil, 29 * time.Minute, 33 * time.Minute, reasonIll},
		{"two of five", 5, 2, noRoute, nil, 24 * time.Hour, 0, reasonHeld},
		{"three of ten", 10, 3, noRoute, nil, 24 * time.Hour, 0, reasonHeld},
		{"all", 4, 4, noRoute, nil, 24 * time.Hour, 0, reasonHeld},
		{"the only one, and this computer has no network", 1, 1, network, nil, 24 * time.Hour, 0, reasonHeld},
		{"one of ten, behind a hub that does not answer", 10, 1, hub, nil, 24 * time.Hour, 0, reasonHeld},
		{"one that refuses the login", 3, 1, fault.New(fault.AuthRefused, "no"), nil, 4 * time.Minute, 8 * time.Minute, reasonIll},
		{"the only one, and the provider is down", 1, 1, noRoute, fault.New(fault.ProviderDown, "503"), 24 * time.Hour, 0, reasonHeld},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, tt.machines)
			var sick []string
			for i := range tt.sick {
				sick = append(sick, fmt.Sprint("m", i))
				d.sick[fmt.Sprint("m", i)] = tt.err
			}
			if d.listErr = tt.listErr; tt.listErr != nil {
				d.survey(1)
			}
			d.pass(2*time.Minute, 5*time.Second)
			if reason, message := d.health(); reason != tt.reason || !strings.Contains(message, "m0") {
				t.Errorf("the pool says %s: %s; want %s, with m0", reason, message, tt.reason)
			}
			d.pass(tt.after-2*time.Minute, min(15*time.Second, tt.after/8))
			if n := len(d.inPhase(v1alpha1.MachineIdle)); n != tt.machines {
				t.Fatalf("after %s: %v are given up", tt.after, d.inPhase(v1alpha1.MachineFailed))
			}
			if tt.gone > 0 {
				d.pass(tt.gone-tt.after, 5*time.Second)
				if got := d.inPhase(v1alpha1.MachineFailed); !slices.Equal(got, sick) {
					t.Errorf("after %s: %v are given up; want %v", tt.gone, got, sick)
				}
			}
		})
	}
}

// What has stopped replacement goes away: then the machine that is still ill is replaced, and the pool has said both.
func TestReplacementGoesOn(t *testing.T) {
	d := newDesk(t, 5)
	for _, name := range []string{"m1", "m2", "m3"} {
		d.sick[name] = noRoute
	}
	d.pass(time.Hour, 15*time.Second)
	if reason, message := d.health(); reason != reasonHeld || !strings.Contains(message, "3 of 5 machines of pool p") {
		t.Errorf("%s: %s", reason, message)
	}
	delete(d.sick, "m1")
	delete(d.sick, "m3")
	d.pass(2*time.Minute, 5*time.Second)
	if got := d.inPhase(v1alpha1.MachineFailed); !slices.Equal(got, []string{"m2"}) {
		t.Errorf("given up: %v; want m2", got)
	}
	if reason, message := d.health(); reason != reasonHealthy {
		t.Errorf("%s: %s", reason, message)
	}
	heard := strings.Join(d.heard(), "\n")
	if !strings.Contains(heard, "ReplacementStopped") || !strings.Contains(heard, "ReplacementGoesOn") {
		t.Errorf("events:\n%s", heard)
	}
}

// A machine whose object somebody has removed, finalizer and all, is not among the ill any more.
func TestIllMachineWhoseObjectIsRemoved(t *testing.T) {
	d := newDesk(t, 3)
	d.sick["m0"], d.sick["m1"] = noRoute, noRoute
	d.pass(10*time.Minute, 15*time.Second)
	if reason, message := d.health(); reason != reasonHeld {
		t.Errorf("%s: %s", reason, message)
	}
	must(t, d.client.Delete(t.Context(), &v1alpha1.Machine{ObjectMeta: metav1.ObjectMeta{Name: "m0"}}))
	d.view.wroteMachines.forget("m0", "m0")
	d.refresh()
	if _, err := d.keeper.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "m0"}}); err != nil {
		t.Fatal(err)
	}
	d.pass(time.Minute, 5*time.Second)
	if got := d.inPhase(v1alpha1.MachineFailed); !slices.Equal(got, []string{"m1"}) {
		t.Errorf("given up: %v; want m1", got)
	}
}

// What has stopped replacement is not over because a controller does not know of it yet.
func TestReplacementStaysStoppedOverARestart(t *testing.T) {
	d := newDesk(t, 4)
	for _, m := range d.all() {
		d.sick[m.Name] = noRoute
	}
	d.pass(10*time.Minute, 15*time.Second)
	d.health()
	d.heard()
	d.restart()
	d.pass(30*time.Second, 15*time.Second)
	if reason, message := d.health(); reason != reasonHeld {
		t.Errorf("%s: %s", reason, message)
	}
	if heard := strings.Join(d.heard(), "\n"); strings.Contains(heard, "ReplacementGoesOn") {
		t.Errorf("events:\n%s", heard)
	}
}

// A controller that has just begun knows of no failure: its first looks are spread over an interval, and a route that
// comes up a few seconds after it costs nothing, not even if that happens again and again.
func TestARestartIsNoLook(t *testing.T) {
	const machines = 60
	d := newDesk(t, machines)
	for range 20 {
		d.restart()
		d.checks = 0
		for i := range machines {
			d.sick[fmt.Sprint("m", i)] = noRoute
		}
		var most int
		for range 12 {
			before := d.checks
			d.pass(5*time.Second, 5*time.Second)
			most = max(most, d.checks-before)
		}
		clear(d.sick)
		if d.checks == 0 || most > machines*3/4 {
			t.Errorf("%d checks in a minute, %d of them within 5 s; want them spread", d.checks, most)
		}
	}
	d.pass(2*time.Minute, 5*time.Second)
	if n := len(d.inPhase(v1alpha1.MachineIdle)); n != machines {
		t.Errorf("%d of %d machines are left", n, machines)
	}
	for _, m := range d.all() {
		if plannedMachine(pool.Pool{}, m, d.clock).Suspect {
			t.Errorf("machine %s answers and is not given to anybody: %+v", m.Name, m.Status.Conditions)
		}
	}
}

// A machine that fails one check is not given to anybody until it passes one.
func TestSuspectMachineIsNotBound(t *testing.T) {
	d := newDesk(t, 2)
	d.sick["m1"] = noRoute
	d.pass(90*time.Second, 5*time.Second)
	suspects := func() (names []string) {
		for _, m := range d.all() {
			if plannedMachine(pool.Pool{}, m, d.clock).Suspect {
				names = append(names, m.Name)
			}
		}
		return names
	}
	if got := suspects(); !slices.Equal(got, []string{"m1"}) {
		t.Errorf("suspect: %v; want m1", got)
	}
	delete(d.sick, "m1")
	d.pass(time.Minute, 5*time.Second)
	if got := suspects(); len(got) > 0 {
		t.Errorf("suspect after it answered: %v", got)
	}
}

// A machine that died while no controller ran is not given to a claim: it is looked at before. One that the provider
// has said it does not have is none either, though it answers.
func TestDeadMachinesAreNotBoundAfterARestart(t *testing.T) {
	d := newDesk(t, 4)
	d.sick["m0"] = noRoute
	d.sick["m1"] = fault.New(fault.AuthRefused, "a new disk")
	d.held = slices.DeleteFunc(d.held, func(m machine.Machine) bool { return m.Name == "m2" })
	d.survey(1)
	if err := d.bind("c", 4); err != nil {
		t.Fatal(err)
	}
	for _, m := range d.all() {
		if got := m.Spec.Claim != nil; got != (m.Name == "m3") {
			t.Errorf("machine %s is bound: %t", m.Name, got)
		}
	}
}

// When a provider's list lacks machines: one is lost when that stays so, many are not, unless they do not answer either.
func TestWhenAMachineIsLost(t *testing.T) {
	unseen := &provider.PartialError{Unseen: []machine.Endpoint{{Host: "m0"}}, Err: fault.New(fault.ProviderDown, "host m0")}
	for _, tt := range []struct {
		name     string
		machines int
		missing  int
		listErr  error
		dead     bool // they do not answer either
		kept     int  // surveys after which all are still there
		lost     int  // surveys more after which the missing are lost; 0: never, within a day
	}{
		{"one of five", 5, 1, nil, false, 4, 3},
		{"the only one", 1, 1, nil, false, 29, 4},
		{"all, but they answer", 4, 4, nil, false, 24 * 60, 0},
		{"all, and they are dead", 4, 4, nil, true, 29, 4},
		{"one whose host was not seen", 5, 1, unseen, false, 24 * 60, 0},
		{"the list was not to be had", 5, 5, fault.New(fault.ProviderDown, "503"), false, 24 * 60, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, tt.machines)
			var missing []string
			for i := range tt.missing {
				name := fmt.Sprint("m", i)
				missing = append(missing, name)
				if tt.dead {
					d.sick[name] = noRoute
				}
			}
			d.held, d.listErr = d.held[tt.missing:], tt.listErr
			for range tt.kept {
				d.survey(1)
				d.look()
			}
			if n := len(d.inPhase(v1alpha1.MachineIdle)); n != tt.machines {
				t.Fatalf("after %d surveys: %v are given up", tt.kept, d.inPhase(v1alpha1.MachineFailed))
			}
			for range tt.lost {
				d.survey(1)
				d.look()
			}
			if got := d.inPhase(v1alpha1.MachineFailed); tt.lost > 0 && !slices.Equal(got, missing) {
				t.Errorf("lost: %v; want %v", got, missing)
			}
		})
	}
}

// A host that was not seen hides its own machines and no others.
func TestALostMachineBesideADeadHost(t *testing.T) {
	d := newDesk(t, 6)
	d.listErr = &provider.PartialError{Unseen: []machine.Endpoint{{Host: "m0"}}, Err: fault.New(fault.ProviderDown, "host m0")}
	d.held = slices.DeleteFunc(d.held, func(m machine.Machine) bool { return m.Name == "m0" || m.Name == "m3" })
	d.survey(7)
	if got := d.inPhase(v1alpha1.MachineFailed); !slices.Equal(got, []string{"m3"}) {
		t.Errorf("lost: %v; want m3", got)
	}
}

// One machine without an object is deleted when that was seen for a while; most of them at once look like objects that
// were lost, and somebody may use the machines.
func TestOrphansAreSeenForAWhile(t *testing.T) {
	orphan := func(d *desk, n int) {
		for i := range n {
			d.held = append(d.held, machine.Machine{Name: machine.Name(fmt.Sprint("o", i)), Created: d.clock.Add(-time.Hour)})
		}
	}
	d := newDesk(t, 5)
	orphan(d, 1)
	d.survey(5)
	if len(d.held) != 6 {
		t.Errorf("deleted within %s", d.Times.Grace)
	}
	d.survey(1)
	if len(d.held) != 5 {
		t.Errorf("still there after more than %s", d.Times.Grace)
	}
	d = newDesk(t, 2)
	orphan(d, 3)
	d.survey(29)
	if heard := strings.Join(d.heard(), "\n"); len(d.held) != 5 || !strings.Contains(heard, "OrphansKept") {
		t.Errorf("%d machines are left; events:\n%s", len(d.held), heard)
	}
	d.survey(2)
	if len(d.held) != 2 {
		t.Errorf("%d machines are left after more than %s", len(d.held), d.Times.LoneToleration)
	}
}

func TestJitter(t *testing.T) {
	for _, d := range []time.Duration{-time.Hour, -1, 0, 1, time.Second, time.Hour} {
		for range 100 {
			if got, least := jitter(d), max(0, d); got < least || got > least+least/5 {
				t.Fatalf("jitter(%s): %s", d, got)
			}
		}
	}
}

func TestWhatIsSaidIsCutBetweenCharacters(t *testing.T) {
	d := newDesk(t, 0)
	long := strings.Repeat("é", 3000)
	d.event(d.pool, warning, "Reason", long)
	for _, text := range append(d.heard(), clip(long)) {
		if strings.ToValidUTF8(text, "?") != text || len(text) > 2000+50 {
			t.Errorf("%d bytes, not cut between characters: …%q", len(text), text[len(text)-8:])
		}
	}
}
