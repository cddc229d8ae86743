package providertest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

func sortNames(names []machine.Name) { slices.Sort(names) }

func created(t *testing.T, x *trial) {
	want := spec("contract-a")
	m := x.create(want)
	if m.Name != want.Name || m.Owner != want.Owner || !m.Expires.Equal(want.Expires) || m.Provider == "" || m.Created.IsZero() {
		t.Errorf("Create gave %+v for %+v", m, want)
	}
	if m.State != machine.Creating && m.State != machine.Running {
		t.Errorf("state %q after Create", m.State)
	}
	x.answers(m)
	found, err := x.place.Open(t).Get(t.Context(), want.Name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := same(m, found); diff != "" {
		t.Errorf("Get differs from Create:\n%s", diff)
	}
	if found.State != machine.Running {
		t.Errorf("state %q although SSH answers", found.State)
	}
	x.wantNames(mine, want.Name)
	x.delete(want.Name)
	_, err = x.p.Get(t.Context(), want.Name)
	wantKind(t, "Get after Delete", err, fault.UnknownMachine)
	x.wantNames("")
}

func createdTwice(t *testing.T, x *trial) {
	first := x.create(spec("contract-a"))
	x.p = x.place.Open(t) // as after a crash
	if diff := same(first, x.create(spec("contract-a"))); diff != "" {
		t.Errorf("the second Create gave another machine:\n%s", diff)
	}
	x.wantNames("", "contract-a")
	x.answers(first)
}

func oneOwner(t *testing.T, x *trial) {
	x.create(spec("contract-a"))
	theirs := spec("contract-a")
	theirs.Owner = "somebody-else"
	_, err := x.p.Create(t.Context(), theirs)
	wantKind(t, "Create of a name that another owner has", err, fault.NameTaken)
	x.wantNames(mine, "contract-a")
}

func listByOwner(t *testing.T, x *trial) {
	x.wantNames("")
	x.create(spec("contract-a"))
	x.wantNames("contract-other")
	if x.place.Max == 1 {
		return
	}
	theirs := spec("contract-b")
	theirs.Owner = "contract-other"
	x.create(theirs)
	x.wantNames(mine, "contract-a")
	x.wantNames("contract-other", "contract-b")
	x.wantNames("", "contract-a", "contract-b")
}

func unknown(t *testing.T, x *trial) {
	_, err := x.p.Get(t.Context(), "contract-none")
	wantKind(t, "Get", err, fault.UnknownMachine)
	x.delete("contract-none")
	x.create(spec("contract-a"))
	x.delete("contract-none")
	x.wantNames("", "contract-a")
	x.delete("contract-a")
	x.delete("contract-a")
	x.wantNames("")
}

func usedAgain(t *testing.T, x *trial) {
	for range 2 {
		x.answers(x.create(spec("contract-a")))
		x.delete("contract-a")
	}
	theirs := spec("contract-a")
	theirs.Owner = "contract-other"
	x.create(theirs)
	x.wantNames("contract-other", "contract-a")
}

func manyForOne(t *testing.T, x *trial) {
	const n = 4
	var got [n]machine.Machine
	err := parallel(n, func(i int) (err error) {
		got[i], err = x.place.Open(t).Create(t.Context(), spec("contract-a"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got[1:] {
		// Expires is the word of whoever came first.
		m.Expires = got[0].Expires
		if diff := same(got[0], m); diff != "" {
			t.Errorf("two machines of one name:\n%s", diff)
		}
	}
	x.wantNames("", "contract-a")
	x.answers(got[0])
}

func manyNames(t *testing.T, x *trial) {
	n := 3
	if x.place.Max > 0 {
		n = min(n, x.place.Max)
	}
	var want []machine.Name
	for i := range n {
		want = append(want, machine.Name(fmt.Sprintf("contract-%d", i)))
	}
	if err := parallel(n, func(i int) error {
		_, err := x.place.Open(t).Create(t.Context(), spec(want[i]))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	x.wantNames(mine, want...)
	if err := parallel(n, func(i int) error { return x.place.Open(t).Delete(t.Context(), want[i]) }); err != nil {
		t.Fatal(err)
	}
	x.wantNames("")
}

func full(t *testing.T, x *trial) {
	if x.place.Max == 0 {
		return // there is no limit worth testing
	}
	for i := range x.place.Max {
		x.create(spec(machine.Name(fmt.Sprintf("contract-%d", i))))
	}
	_, err := x.p.Create(t.Context(), spec("contract-late"))
	wantKind(t, "Create on a full place", err, fault.NoCapacity)
	x.delete("contract-late") // after an error the caller deletes by name
	x.create(spec("contract-0"))
	x.delete("contract-0")
	x.create(spec("contract-late"))
}

func cutShort(t *testing.T, x *trial) {
	for i, limit := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond} {
		name := machine.Name(fmt.Sprintf("contract-%d", i))
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := x.p.Create(ctx, spec(name))
		cancel()
		t.Logf("Create with %v to do it: %v", limit, err)
		x.p = x.place.Open(t)
		if i%2 == 1 {
			x.answers(x.create(spec(name)))
		}
		x.delete(name)
		x.wantNames("")
	}
}

func createAndDelete(t *testing.T, x *trial) {
	err := parallel(4, func(i int) error {
		p := x.place.Open(t)
		if i%2 == 0 {
			return p.Delete(t.Context(), "contract-a")
		}
		_, err := p.Create(t.Context(), spec("contract-a"))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	x.delete("contract-a")
	x.wantNames("")
}
