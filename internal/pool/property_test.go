package pool

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// A model is a pool in motion: what was decided is carried out, machines come and go, claims
// too. It knows nothing of how decisions are made.
type model struct {
	t    *testing.T
	rand *rand.Rand
	s    Snapshot
	next int
	has  map[string]string    // machine -> claim
	got  map[string]time.Time // claim -> when it was bound
}

func newModel(t *testing.T, seed uint64) *model {
	r := rand.New(rand.NewPCG(seed, 1))
	p := Pool{Max: 1 + r.IntN(8), MaxCreating: 1 + r.IntN(4), Reuse: r.IntN(2) == 0, Image: "a"}
	p.Warm = r.IntN(p.Max + 1)
	if r.IntN(2) == 0 {
		p.MaxUses = 1 + r.IntN(3)
	}
	if r.IntN(3) == 0 {
		p.MaxAge = time.Hour
	}
	return &model{t: t, rand: r, s: Snapshot{Now: noon, Pool: p}, has: map[string]string{}, got: map[string]time.Time{}}
}

func (m *model) name(prefix string) string {
	m.next++
	return fmt.Sprintf("%s%d", prefix, m.next)
}

// carryOut does what was decided, and checks what must hold whatever was.
func (m *model) carryOut(d Decision) {
	m.t.Helper()
	for _, b := range d.Bind {
		c := m.s.Claims[b.Claim]
		x := m.find(b.Machine)
		if x == nil || x.Phase != Idle || m.has[x.Name] != "" {
			m.t.Fatalf("bind %s: it is not free: %+v", b.Machine, x)
		}
		if _, twice := m.got[c.UID]; twice {
			m.t.Fatalf("claim %s is bound twice", c.UID)
		}
		if x.For != "" && x.For != c.UID || m.s.Pool.own(c) && (x.For != c.UID || c.Image != "" && x.Image != c.Image) {
			m.t.Fatalf("bind %+v to %+v: it was made for another", x, c)
		}
		x.Phase, x.Since, x.Namespace = Leased, m.s.Now, c.Namespace
		m.has[x.Name], m.got[c.UID] = c.UID, m.s.Now
	}
	m.s.Claims = slices.DeleteFunc(slices.Clone(m.s.Claims), func(c Claim) bool { _, ok := m.got[c.UID]; return ok })
	for _, x := range d.Delete {
		y := m.find(x.Machine)
		if y == nil || y.Phase != Idle {
			m.t.Fatalf("delete %s (%s): it is not idle: %+v", x.Machine, x.Why, y)
		}
		y.Phase = Deleting
	}
	for _, x := range d.Create {
		m.s.Machines = append(m.s.Machines, Machine{Name: m.name("m"), Image: x.Image, For: x.For, Created: m.s.Now, Since: m.s.Now})
	}
	creating := 0
	for _, x := range m.s.Machines {
		if x.Phase == Creating {
			creating++
		}
	}
	if len(d.Create) > 0 && (len(m.s.Machines) > m.s.Pool.Max || creating > m.s.Pool.MaxCreating) {
		m.t.Fatalf("%d machines, %d under creation; max %d, maxCreating %d", len(m.s.Machines), creating, m.s.Pool.Max, m.s.Pool.MaxCreating)
	}
}

func (m *model) find(name string) *Machine {
	for i := range m.s.Machines {
		if m.s.Machines[i].Name == name {
			return &m.s.Machines[i]
		}
	}
	return nil
}

// plan decides, and checks that deciding again says the same, and after it was
// carried out nothing.
func (m *model) plan() {
	m.t.Helper()
	d := Plan(m.s)
	if again := Plan(m.s); !reflect.DeepEqual(d, again) {
		m.t.Fatalf("not the same twice:\n%+v\n%+v", d, again)
	}
	m.carryOut(d)
	if after := Plan(m.s); len(after.Bind)+len(after.Create)+len(after.Delete) > 0 {
		m.t.Fatalf("something is left to do:\n%+v\nafter\n%+v\nin\n%+v", after, d, m.s)
	}
	for i, w := range d.Queue {
		if w.Position != i+1 {
			m.t.Fatalf("position %d at place %d", w.Position, i+1)
		}
	}
}

// live lets a while pass. A machine that is gone at once is gone in this time.
func (m *model) live(d time.Duration, claims bool) {
	m.s.Now = m.s.Now.Add(d)
	var rest []Machine
	for _, x := range m.s.Machines {
		before := x.Phase
		switch {
		case x.Phase == Deleting:
			continue
		case x.Phase < Idle && m.rand.IntN(10) == 0:
			x.Phase = Deleting // it failed
		case x.Phase < Idle:
			x.Phase++
		case x.Phase == Leased && m.rand.IntN(3) == 0:
			x.Phase = Releasing
			x.Uses++
			x.Returns = m.s.Pool.Reuse && x.For == "" && !Outdated(m.s.Pool, x, m.s.Now)
		case x.Phase == Releasing && x.Returns:
			x.Phase, x.Namespace, x.Returns = Idle, "", false
			delete(m.has, x.Name)
		case x.Phase == Releasing:
			x.Phase, x.Namespace = Deleting, ""
		}
		if x.Phase != before {
			x.Since = m.s.Now
		}
		rest = append(rest, x)
	}
	m.s.Machines = rest
	if !claims {
		return
	}
	for range m.rand.IntN(4) {
		uid := m.name("c")
		c := Claim{UID: uid, Name: uid, Namespace: string('a' + rune(m.rand.IntN(3))), Priority: m.rand.IntN(2), Created: m.s.Now}
		if m.rand.IntN(4) == 0 {
			c.Image = "own"
		}
		c.Fresh = m.rand.IntN(8) == 0
		m.s.Claims = append(m.s.Claims, c)
	}
	switch m.rand.IntN(20) {
	case 3: // an image is to be built, or is
		m.s.Pool.NoImage = []string{"", "not built"}[m.rand.IntN(2)]
	case 0:
		m.s.Pool.Image = string('a' + rune(m.rand.IntN(2)))
	case 1:
		m.s.Pool.Max = 1 + m.rand.IntN(8)
		m.s.Pool.Warm = m.rand.IntN(m.s.Pool.Max + 1)
	case 2: // somebody gives up
		if n := len(m.s.Claims); n > 0 {
			i := m.rand.IntN(n)
			m.s.Claims = slices.Delete(slices.Clone(m.s.Claims), i, i+1)
		}
	}
}

// Whatever happens, the limits hold, decisions are stable, and everybody is served in the end.
func TestProperties(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			for range 60 {
				m.plan()
				m.live(time.Minute, true)
			}
			m.s.Pool.NoImage = ""
			for n := 0; len(m.s.Claims) > 0; n++ {
				if n > 5000 {
					t.Fatalf("never served: %+v\nmachines: %+v\npool: %+v", m.s.Claims, m.s.Machines, m.s.Pool)
				}
				m.plan()
				m.live(time.Minute, false)
			}
			idle := 0
			for range 200 {
				m.plan()
				m.live(time.Second, false)
				idle = 0
				for _, x := range m.s.Machines {
					if x.Phase == Idle && !Outdated(m.s.Pool, x, m.s.Now) {
						idle++
					}
				}
			}
			if idle == 0 && m.s.Pool.Warm > 0 {
				t.Errorf("none is idle of %d that should be: %+v", m.s.Pool.Warm, m.s)
			}
		})
	}
}

// One namespace holds machines for good and another asks for more all the time: who has many
// waits, but not for ever.
func TestNobodyStarves(t *testing.T) {
	s := Snapshot{Now: noon, Pool: Pool{Max: 4, Reuse: true}}
	for i := range 3 {
		s.Machines = append(s.Machines, Machine{Name: fmt.Sprint("held", i), Phase: Leased, Namespace: "a", Since: noon})
	}
	s.Claims = []Claim{{UID: "late", Namespace: "a", Created: noon}}
	for n := range 1000 {
		s.Claims = append(s.Claims, Claim{UID: fmt.Sprint("b", n), Namespace: "b", Created: s.Now})
		round := s
		round.Machines = append(slices.Clone(s.Machines), Machine{Name: "free", Phase: Idle})
		d := Plan(round)
		if len(d.Bind) != 1 {
			t.Fatalf("%d machines given", len(d.Bind))
		}
		i := d.Bind[0].Claim
		if s.Claims[i].UID == "late" {
			t.Logf("served after %s", s.Now.Sub(noon))
			return
		}
		s.Claims = slices.Delete(slices.Clone(s.Claims), i, i+1)
		s.Now = s.Now.Add(time.Minute)
	}
	t.Fatal("never served")
}

func BenchmarkPlan(b *testing.B) {
	s := Snapshot{Now: noon, Pool: Pool{Max: 1000, Warm: 10, MaxCreating: 4, StartTime: time.Minute, LeaseTime: time.Hour}}
	for i := range 1000 {
		s.Machines = append(s.Machines, Machine{Name: fmt.Sprint("m", i), Phase: Leased, Namespace: fmt.Sprint("ns", i%20), Since: noon})
	}
	for i := range 5000 {
		s.Claims = append(s.Claims, Claim{UID: fmt.Sprint("c", i), Namespace: fmt.Sprint("ns", i%20), Created: noon.Add(-time.Duration(i) * time.Second)})
	}
	for b.Loop() {
		if d := Plan(s); len(d.Queue) != 5000 {
			b.Fatal(len(d.Queue))
		}
	}
}
