// Package providertest is the contract of [provider.Provider], executable. A
// provider's test calls [Run] with a way to make a fresh place.
package providertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/reach"
)

// A Place is what a provider under test stands on.
type Place struct {
	// Open returns a new provider on the same place, as a new process would
	// open it. It must share no memory with those opened before.
	Open func(t *testing.T) provider.Provider
	// Max is how many machines the place holds at once; 0 means that there is
	// no limit worth testing.
	Max int
	// Left returns what is left on the place when no machine should be; nil
	// means that there is nothing to look at.
	Left func(t *testing.T) []string
}

// bootLimit is how long a machine may take until SSH answers. Emulated
// guests on a busy computer are slow; a provider that is stuck is noticed all the same.
const bootLimit = 3 * time.Minute

// Run checks the contract on a place that is made fresh for each part.
func Run(t *testing.T, place func(t *testing.T) Place) {
	for _, part := range []struct {
		name  string
		check func(t *testing.T, x *trial)
	}{
		{"what is created is found", created},
		{"creating twice gives one machine", createdTwice},
		{"a name has one owner", oneOwner},
		{"owners see their own", listByOwner},
		{"what is not there is deleted well", unknown},
		{"a name can be used again", usedAgain},
		{"many at once for one name get one machine", manyForOne},
		{"many names at once get a machine each", manyNames},
		{"a full place says so", full},
		{"a create that is cut short is completed or removed", cutShort},
		{"create and delete at once end well", createAndDelete},
	} {
		t.Run(part.name, func(t *testing.T) {
			x := &trial{t: t, place: place(t)}
			x.p = x.place.Open(t)
			t.Cleanup(x.cleanUp)
			part.check(t, x)
		})
	}
}

// A trial is one part of the contract at work.
type trial struct {
	t     *testing.T
	place Place
	p     provider.Provider
}

const mine machine.Owner = "contract-owner"

func spec(name machine.Name) machine.Spec {
	return machine.Spec{
		Name: name, Owner: mine,
		Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Second),
		Labels:  map[string]string{"purpose": "contract"},
	}
}

func (x *trial) create(s machine.Spec) machine.Machine {
	x.t.Helper()
	m, err := x.p.Create(x.t.Context(), s)
	if err != nil {
		x.t.Fatalf("Create %s: %v", s.Name, err)
	}
	return m
}

func (x *trial) delete(name machine.Name) {
	x.t.Helper()
	if err := x.p.Delete(x.t.Context(), name); err != nil {
		x.t.Fatalf("Delete %s: %v", name, err)
	}
}

// names returns whom a fresh provider lists.
func (x *trial) names(owner machine.Owner) []machine.Name {
	x.t.Helper()
	all, err := x.place.Open(x.t).List(x.t.Context(), owner)
	if err != nil {
		x.t.Fatalf("List: %v", err)
	}
	names := map[machine.Name]bool{}
	for _, m := range all {
		if names[m.Name] {
			x.t.Errorf("%s is listed twice", m.Name)
		}
		names[m.Name] = true
	}
	var sorted []machine.Name
	for n := range names {
		sorted = append(sorted, n)
	}
	sortNames(sorted)
	return sorted
}

// wantNames compares a list with a set.
func (x *trial) wantNames(owner machine.Owner, want ...machine.Name) {
	x.t.Helper()
	sortNames(want)
	if diff := cmp.Diff(want, x.names(owner)); diff != "" {
		x.t.Errorf("List(%q) (-want +got):\n%s", owner, diff)
	}
}

// answers checks that SSH works on the machine.
func (x *trial) answers(m machine.Machine) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), bootLimit)
	defer cancel()
	c, err := reach.Wait(ctx, m.Endpoint, reach.Options{})
	if err != nil {
		x.t.Fatalf("machine %s: %v", m.Name, err)
	}
	defer c.Close()
	out, exit, err := c.Output(ctx, "echo there", nil)
	if string(out) != "there\n" || exit != 0 || err != nil {
		x.t.Errorf("machine %s: got %q, exit %d, %v", m.Name, out, exit, err)
	}
}

// cleanUp deletes everything and looks whether anything is left.
func (x *trial) cleanUp() {
	ctx := context.Background() // the test's own has ended
	p := x.place.Open(x.t)
	all, err := p.List(ctx, "")
	if err != nil {
		x.t.Errorf("List: %v", err)
	}
	for _, m := range all {
		if err := p.Delete(ctx, m.Name); err != nil {
			x.t.Errorf("Delete %s: %v", m.Name, err)
		}
	}
	if x.place.Left == nil {
		return
	}
	// A process that was just being started when its machine went ends by
	// itself, once it has come so far as to see that; a busy computer takes its time.
	deadline := time.Now().Add(leftLimit)
	tick := time.NewTicker(leftPoll)
	defer tick.Stop()
	for {
		left := x.place.Left(x.t)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			x.t.Errorf("left behind: %v", left)
			return
		}
		<-tick.C
	}
}

// How long leftovers may take to end by themselves.
const (
	leftLimit = 30 * time.Second
	leftPoll  = 50 * time.Millisecond
)

// same compares what does not change in a machine's life.
func same(a, b machine.Machine) string {
	a.State, b.State = "", ""
	return cmp.Diff(a, b, cmp.Comparer(func(a, b machine.Secret) bool { return a.Reveal() == b.Reveal() }),
		cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }))
}

// parallel runs f n times at once.
func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := f(i); err != nil {
				errs[i] = fmt.Errorf("number %d: %w", i, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// wantKind checks an error's kind.
func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: got %v (%s), want a fault of kind %s", what, err, fault.Of(err), kind)
	}
}
