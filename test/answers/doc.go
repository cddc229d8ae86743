// Package answers has the real program talk to machines that answer anything: a real agent behind an SSH server that changes,
// as a seed says, what it sends. It looks at what is printed, and at everything that the machine has no business with.
package answers
