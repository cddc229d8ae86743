package faultproxy

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// A Kind is something that happens to a connection.
type Kind string

// What can happen.
const (
	Cut    Kind = "cut"    // both ends get a reset, bytes on the way are lost
	Finish Kind = "finish" // both ends get an end of file, bytes on the way are lost
	Vanish Kind = "vanish" // from here on bytes are swallowed and nobody is told
	Pause  Kind = "pause"  // nothing passes for Plan.Pause, nothing is lost
)

// A Direction is one of the two ways of a connection.
type Direction string

// The directions.
const (
	Up   Direction = "up"   // from who dialled to the target
	Down Direction = "down" // back
)

// A Plan breaks connections at random points. Its zero value breaks nothing.
type Plan struct {
	Seed uint64
	// Every is the mean number of bytes between two faults of one direction of
	// one connection, exponentially distributed; 0 means no faults.
	Every int64
	Kinds []Kind        // drawn from with equal chance; empty means Cut
	Pause time.Duration // how long a Pause lasts
	// Max is how many faults there are in all, so that what is tested can come
	// to its end; 0 means no limit.
	Max int
}

// An Event is a fault that happened.
type Event struct {
	Kind      Kind
	Conn      int // counted from 0
	Direction Direction
	At        int64 // bytes that had passed in that direction
}

// dice counts the faults that are still to come, for all connections.
type dice struct {
	plan Plan
	mu   sync.Mutex
	left int
}

func newDice(p Plan) *dice {
	left := p.Max
	if left == 0 {
		left = math.MaxInt
	}
	if len(p.Kinds) == 0 {
		p.Kinds = []Kind{Cut}
	}
	return &dice{plan: p, left: left}
}

// take uses up one fault, if there is one left.
func (d *dice) take() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return false
	}
	d.left--
	return true
}

// A fate is what will happen in one direction of one connection. It depends on
// the seed, the number of the connection and the direction, not on time.
type fate struct {
	dice *dice
	rand *rand.Rand
	next int64 // position of the next fault
	kind Kind
}

func (d *dice) fate(conn int, dir Direction) *fate {
	// Two directions of one connection must not share a fate.
	stream := uint64(conn) * 2
	if dir == Down {
		stream++
	}
	f := &fate{dice: d, rand: rand.New(rand.NewPCG(d.plan.Seed, stream))}
	f.draw(0)
	return f
}

func (f *fate) draw(from int64) {
	if f.dice.plan.Every == 0 {
		f.spare()
		return
	}
	f.next = from + 1 + int64(f.rand.ExpFloat64()*float64(f.dice.plan.Every))
	f.kind = f.dice.plan.Kinds[f.rand.IntN(len(f.dice.plan.Kinds))]
}

// due tells how many of the n bytes at position pos pass before the next fault,
// and which fault follows them; "" if none.
func (f *fate) due(pos int64, n int) (pass int, kind Kind) {
	if pos+int64(n) < f.next {
		return n, ""
	}
	pass = int(f.next - pos)
	if !f.dice.take() {
		f.spare()
		return n, ""
	}
	kind = f.kind
	f.draw(f.next)
	return pass, kind
}

// spare ends the faults of this direction.
func (f *fate) spare() { f.next = math.MaxInt64 }
