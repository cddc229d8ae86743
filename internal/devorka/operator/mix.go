package operator

import (
	"fmt"

	"outrigger.dev/outrigger/internal/devorka/inject"
)

// mix makes the SSH ports of v and of another VM lead to each other's, if that is
// to happen to v, or was to happen to a VM that had no other to be mixed up with.
func (o *Operator) mix(v *vm) {
	_, hit := o.cfg.Faults.VM(inject.Mixed, v.name)
	o.mu.Lock()
	defer o.mu.Unlock()
	other := o.lonely
	if !hit && other == nil {
		return
	}
	if other == nil {
		for uid, w := range o.vms { // the latest that runs
			w.mu.Lock()
			if w != v && !w.ending && !w.dead && w.gate != nil && (other == nil || o.order[uid] > o.order[other.uid]) {
				other = w
			}
			w.mu.Unlock()
		}
	}
	if other == nil {
		o.lonely = v
		return
	}
	if other == v {
		return
	}
	o.lonely = nil
	other.mu.Lock()
	g := other.gate
	other.mu.Unlock()
	if g != nil {
		swap(v.gate, g)
	}
}

// Mix exchanges the SSH ports of two VMs, as Orka 3.0.3 did.
func (o *Operator) Mix(namespace, one, other string) error {
	a, err := o.find(namespace, one)
	if err != nil {
		return err
	}
	b, err := o.find(namespace, other)
	if err != nil {
		return err
	}
	gateOf := func(v *vm) *gate {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.gate
	}
	x, y := gateOf(a), gateOf(b)
	if x == nil || y == nil || x == y {
		return fmt.Errorf("%s and %s are not two running VMs", one, other)
	}
	swap(x, y)
	return nil
}
