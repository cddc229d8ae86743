package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/wire"
)

var here = machine.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}

// buildAgent builds the agent of these tests: a small real program.
var buildAgent = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "outrigger-deliver-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "agent")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, "./testdata/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(exe)
})

// testSource is a folder that holds the agent for this platform.
func testSource(t *testing.T) (Source, string) {
	t.Helper()
	content, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	return sourceOf(t, here, content)
}

func sourceOf(t *testing.T, p machine.Platform, content []byte) (Source, string) {
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

// speak opens the agent and returns the arguments with which it says it was started.
func speak(ctx context.Context, c *reach.Client, src Source, root string) ([]string, Agent, error) {
	conn, a, err := Open(ctx, c, src, root, "serve", func(conn *wire.Conn) error {
		if err := conn.Greet("test", here); err != nil {
			return err
		}
		return conn.SendRequest("args", nil)
	})
	if err != nil {
		return nil, a, err
	}
	defer conn.Close()
	var args []string
	return args, a, conn.RecvResponse(&args)
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
