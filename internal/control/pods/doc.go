// Package pods leads a marked Pod to its machine and away from it again: it makes
// the Pod's MachineClaim, hands the bound machine over in a Secret, lifts the Pod's
// gate, and releases the claim when what ran on the machine has ended.
//
// [Decide] is a pure function from what is known of one Pod and its claim to the next
// step; the reconciler carries out one step, and looks again. All state is in the
// objects, and every step may be taken again: see docs/design/kubernetes.md for why
// each write is safe.
//
// What binds machines to claims is package pools; the two meet in the claim's status alone.
package pods
