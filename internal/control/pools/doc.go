// Package pools keeps MachinePools: it makes and deletes their machines, gives them
// to claims, and says how things stand.
//
// Two reconcilers share the work. The scheduler looks at one pool: it takes a
// snapshot, asks package pool what to do, and writes it down: it makes Machine objects, marks
// them for deletion, and binds. The keeper looks at one machine: it carries it through its
// phases, with the provider and over SSH. A survey compares each provider's list
// with the objects from time to time, and a herald writes what people read.
//
// All state is in the objects and at the providers, and each step can be taken
// again: see docs/design/controller.md for why each write is safe.
package pools
