// Package program builds what users run, for tests that run it.
package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Build does what `make build` does, for this platform: dir gets the program and
// the agent of this platform in agents/.
func Build(ctx context.Context, dir string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	agent := fmt.Sprintf("agents/outrigger-agent-%s-%s", runtime.GOOS, runtime.GOARCH)
	for _, b := range [][2]string{{"outrigger", "./cmd/outrigger"}, {agent, "./cmd/agent"}} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(dir, b[0]), b[1])
		cmd.Dir = strings.TrimSpace(string(root))
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", b[1], err, out)
		}
	}
	return nil
}
