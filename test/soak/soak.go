// Package soak lets a test that draws its cases from seeds be run for hours: `make soak` hands it
// one range of seeds after another, and a plain `go test` the usual few.
package soak

import (
	"fmt"
	"os"
	"testing"
)

// Variable is the environment variable in which tools/soak hands over "FIRST COUNT".
const Variable = "OUTRIGGER_SOAK"

// Counted begins a line of a test's output that says what happened once, for the sums of the summary.
const Counted = "counted: "

// Seeds returns the seeds that the test is to try: those of a soak, or else 0 to usual-1. Each case
// is a subtest named "seed=N", so that a failure names its seed and -run has it again.
func Seeds(tb testing.TB, usual int) []uint64 {
	tb.Helper()
	first, count := uint64(0), usual
	if text, ok := os.LookupEnv(Variable); ok {
		if _, err := fmt.Sscanf(text, "%d %d", &first, &count); err != nil || count < 0 {
			tb.Fatalf("%s=%q: want \"FIRST COUNT\"", Variable, text)
		}
	}
	seeds := make([]uint64, count)
	for i := range seeds {
		seeds[i] = first + uint64(i)
	}
	return seeds
}

// Name is the name of the subtest for a seed.
func Name(seed uint64) string { return fmt.Sprintf("seed=%d", seed) }

// Count tells a soak that something happened, such as "killed sshd"; the summary says how often.
func Count(tb testing.TB, what string) {
	tb.Helper()
	tb.Log(what)
	if _, ok := os.LookupEnv(Variable); ok {
		fmt.Println(Counted + what)
	}
}
