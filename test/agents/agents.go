// Package agents builds the agent for tests that deliver it for real.
package agents

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

var build = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "outrigger-agents-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "agent")
	c := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, "outrigger.dev/outrigger/cmd/agent")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the agent: %w: %s", err, out)
	}
	return os.ReadFile(exe)
})

// Content returns the agent for this computer, built once per process.
func Content(tb testing.TB) []byte {
	tb.Helper()
	b, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Dir returns a folder as make build fills it, with the agent for this
// computer alone.
func Dir(tb testing.TB) string {
	tb.Helper()
	name := "outrigger-agent-" + runtime.GOOS + "-" + runtime.GOARCH
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), Content(tb), 0o755); err != nil {
		tb.Fatal(err)
	}
	return dir
}
