package reach_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
)

// await waits for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !fact(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// noLeaks checks, when the test has ended, that it left no goroutine of ours behind.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var left string
		defer func() {
			if left != "" {
				t.Log(left)
			}
		}()
		await(t, "no goroutine is left", func() bool {
			buf := make([]byte, 1<<20)
			buf = buf[:runtime.Stack(buf, true)]
			left = ""
			for _, g := range strings.Split(string(buf), "\n\n")[1:] { // the first is this one
				if strings.Contains(g, "/internal/reach.") || strings.Contains(g, "x/crypto/ssh") {
					left += g + "\n\n"
				}
			}
			return left == ""
		})
	})
}

// dial connects and closes with the test.
func dial(t *testing.T, ep machine.Endpoint, o reach.Options) *reach.Client {
	t.Helper()
	c, err := reach.Dial(t.Context(), ep, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// output runs command and returns what it printed.
func output(t *testing.T, c *reach.Client, command string) string {
	t.Helper()
	out, exit, err := c.Output(t.Context(), command, nil)
	if err != nil || exit != 0 {
		t.Fatalf("%s: exit %d, %v", command, exit, err)
	}
	return strings.TrimSpace(string(out))
}
