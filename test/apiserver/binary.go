//go:build linux

package apiserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// KubeVariable names the environment variable with the path of the binary to use.
const KubeVariable = "OUTRIGGER_TEST_KUBE"

// kube returns the path of the binary that is etcd and kube-apiserver, built from
// test/kube if the cache lacks it.
func kube(ctx context.Context) (string, error) {
	if path := os.Getenv(KubeVariable); path != "" {
		return path, nil
	}
	root, err := root()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "test", "kube")
	sum, err := digest(source)
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "outrigger-dev", "kube-"+sum)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	fmt.Fprintf(os.Stderr, "apiserver: building %s from test/kube, minutes, once\n", path)
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid()) // two test processes may build at a time
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", temporary, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apiserver: build of test/kube: %w\n%s", err, out)
	}
	return path, os.Rename(temporary, path)
}

// digest names what the binary is built from.
func digest(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum"))
	slices.Sort(files)
	h := sha256.New()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}
