package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/test/agents"
)

var here = machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}

// testSource is a folder that holds the agent for this platform.
func testSource(t testing.TB) (Source, string) {
	t.Helper()
	return sourceOf(t, here, agents.Content(t))
}

func sourceOf(t testing.TB, p machine.Platform, content []byte) (Source, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName(p)), content, 0o755); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return Dirs(dir), hex.EncodeToString(sum[:])
}

func dial(t *testing.T, ep machine.Endpoint) *reach.Client {
	t.Helper()
	c, err := reach.Dial(t.Context(), ep, reach.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// speak opens the agent and asks it what it is.
func speak(ctx context.Context, c *reach.Client, src Source, root string) (wire.Info, Agent, error) {
	conn, a, err := Open(ctx, c, src, root, "serve", func(conn *wire.Conn) error {
		if err := conn.Greet("test", here); err != nil {
			return err
		}
		return conn.SendRequest(wire.MethodInfo, wire.InfoRequest{})
	})
	if err != nil {
		return wire.Info{}, a, err
	}
	defer conn.Close()
	var info wire.Info
	return info, a, conn.RecvResponse(&info)
}

// await waits for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !fact(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
