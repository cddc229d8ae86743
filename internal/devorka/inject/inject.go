// Package inject makes things go wrong on demand, in the ways that Orka clusters
// have been seen to.
//
// A [Fault] is armed and strikes the requests or the VMs that it matches, a number
// of times or until it is removed.
package inject

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Kind is a way to go wrong.
type Kind string

// Faults of requests, through either door.
const (
	Lost   Kind = "lost"   // carried out, but the connection ends before the answer
	Refuse Kind = "refuse" // the connection ends before anything is done
	Slow   Kind = "slow"   // takes Delay longer
	Error  Kind = "error"  // answered with Status, nothing is done
	Cut    Kind = "cut"    // a watch ends after Delay
	Taken  Kind = "taken"  // somebody else's VM has the name a moment before ours
)

// Faults of VMs.
const (
	NoCapacity Kind = "no-capacity" // not placed until it is removed: the VM stays Pending
	Fails      Kind = "fails"       // the deploy ends as Failed
	NoAddress  Kind = "no-address"  // Running, but with neither address nor ports
	Dies       Kind = "dies"        // crashes Delay after it was Running
	Vanishes   Kind = "vanishes"    // is deleted Delay after it was Running, not by its owner
	Mixed      Kind = "mixed"       // its SSH port leads to another VM, and that one's to it
	Deaf       Kind = "deaf"        // SSH never answers
)

var kinds = map[Kind]string{
	Lost: "request", Refuse: "request", Slow: "request", Error: "request", Cut: "watch", Taken: "VM",
	NoCapacity: "VM", Fails: "VM", NoAddress: "VM", Dies: "VM", Vanishes: "VM", Mixed: "VM", Deaf: "VM",
}

// A Duration is written as "1.5s".
type Duration time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// A Fault says what goes wrong, where and how often.
type Fault struct {
	ID      int      `json:"id"` // given when it is armed
	Kind    Kind     `json:"kind"`
	Door    string   `json:"door,omitempty"`   // rest or kube; "" both
	Method  string   `json:"method,omitempty"` // of the request; "" any
	Path    string   `json:"path,omitempty"`   // a regular expression that finds something in the request's path
	VM      string   `json:"vm,omitempty"`     // one that finds something in the VM's name
	Count   int      `json:"count,omitempty"`  // how often it strikes; 0: until it is removed
	Rate    float64  `json:"rate,omitempty"`   // the share of what matches, by chance; 0: all
	Delay   Duration `json:"delay,omitempty"`
	Status  int      `json:"status,omitempty"` // of kind error: 500
	Message string   `json:"message,omitempty"`
	Struck  int      `json:"struck"` // how often it has

	path, vm *regexp.Regexp
	held     map[string]bool // VMs that no-capacity has struck, which it holds until it is removed
}

// Check tells what is wrong with f.
func (f *Fault) Check() error {
	if _, ok := kinds[f.Kind]; !ok {
		names := slices.Sorted(maps.Keys(kinds))
		words := make([]string, len(names))
		for i, n := range names {
			words[i] = string(n)
		}
		return fmt.Errorf("fault kind %q: want one of %s", f.Kind, strings.Join(words, ", "))
	}
	if f.Door != "" && f.Door != "rest" && f.Door != "kube" {
		return fmt.Errorf("fault door %q: want rest or kube", f.Door)
	}
	if f.Rate < 0 || f.Rate > 1 || f.Count < 0 || f.Delay < 0 {
		return fmt.Errorf("fault %s: rate is from 0 to 1, count and delay are not negative", f.Kind)
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		return fmt.Errorf("fault status %d: want one of an error, 400 to 599", f.Status)
	}
	return nil
}

// Faults are those that are armed.
type Faults struct {
	mu      sync.Mutex
	next    int
	armed   []*Fault
	chance  *rand.Rand
	changed func()
}

// New returns none. The same seed makes the same choices for the same questions.
func New(seed uint64) *Faults {
	return &Faults{chance: rand.New(rand.NewPCG(seed, seed)), changed: func() {}} //nolint:gosec // chance, not a secret
}

// OnChange has f called after faults were armed or removed.
func (fs *Faults) OnChange(f func()) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.changed = f
}

// Add arms a fault and returns it with its number.
func (fs *Faults) Add(f Fault) (Fault, error) {
	if err := f.Check(); err != nil {
		return f, err
	}
	var err error
	if f.path, err = regexp.Compile(f.Path); err != nil {
		return f, err
	}
	if f.vm, err = regexp.Compile(f.VM); err != nil {
		return f, err
	}
	fs.mu.Lock()
	fs.next++
	f.ID, f.Struck = fs.next, 0
	kept := f
	fs.armed = append(fs.armed, &kept)
	changed := fs.changed
	fs.mu.Unlock()
	changed()
	return f, nil
}

// Remove disarms the fault of that number, all for 0.
func (fs *Faults) Remove(id int) {
	fs.mu.Lock()
	fs.armed = slices.DeleteFunc(fs.armed, func(f *Fault) bool { return id == 0 || f.ID == id })
	changed := fs.changed
	fs.mu.Unlock()
	changed()
}

// List returns what is armed, and how often it struck.
func (fs *Faults) List() []Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	all := make([]Fault, 0, len(fs.armed))
	for _, f := range fs.armed {
		all = append(all, *f)
	}
	return all
}

// Request returns the fault of that kind that strikes a request, if one does.
func (fs *Faults) Request(k Kind, door string, r *http.Request) (Fault, bool) {
	return fs.strike(k, func(f *Fault) bool {
		return (f.Door == "" || f.Door == door) && (f.Method == "" || strings.EqualFold(f.Method, r.Method)) && f.path.MatchString(r.URL.Path)
	})
}

// VM returns the fault of that kind that strikes a VM, if one does.
func (fs *Faults) VM(k Kind, name string) (Fault, bool) {
	return fs.strike(k, func(f *Fault) bool { return f.vm.MatchString(name) })
}

// Hold returns the fault of that kind that has struck a VM and holds it, or strikes it now. id is the VM's, so that
// one which is tried again counts once.
func (fs *Faults) Hold(k Kind, name, id string) (Fault, bool) {
	fs.mu.Lock()
	for _, f := range fs.armed {
		if f.Kind == k && f.held[id] {
			defer fs.mu.Unlock()
			return *f, true
		}
	}
	fs.mu.Unlock()
	hit, struck := fs.VM(k, name)
	if !struck || hit.Rate > 0 { // one by chance is drawn again at each try
		return hit, struck
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.armed {
		if f.ID == hit.ID {
			if f.held == nil {
				f.held = map[string]bool{}
			}
			f.held[id] = true
		}
	}
	return hit, true
}

func (fs *Faults) strike(k Kind, match func(*Fault) bool) (Fault, bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.armed {
		if f.Kind != k || (f.Count > 0 && f.Struck >= f.Count) || !match(f) {
			continue
		}
		if f.Rate > 0 && fs.chance.Float64() >= f.Rate {
			continue
		}
		f.Struck++
		return *f, true
	}
	return Fault{}, false
}
