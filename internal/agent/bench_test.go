//go:build linux

package agent_test

import (
	"fmt"
	"io"
	"testing"

	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
)

// BenchmarkRun is a command that does nothing, with the daemon there.
func BenchmarkRun(b *testing.B) {
	h := newHost(b)
	h.lease("a")
	for b.Loop() {
		if r := h.run(wire.RunSpec{Argv: []string{"true"}}, runclient.Streams{}, runclient.Options{}); r.err != nil {
			b.Fatal(r.err)
		}
	}
}

// BenchmarkOutput is how fast a program's output comes through.
func BenchmarkOutput(b *testing.B) {
	const size = 256 << 20
	h := newHost(b)
	h.lease("a")
	b.SetBytes(size)
	for b.Loop() {
		if r := h.run(sh(fmt.Sprintf("head -c %d /dev/zero", size)), runclient.Streams{Out: io.Discard}, runclient.Options{}); r.err != nil {
			b.Fatal(r.err)
		}
	}
}
