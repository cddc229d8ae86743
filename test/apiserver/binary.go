//go:build linux

package apiserver

import (
	"context"
	"os"
	"path/filepath"

	"outrigger.dev/outrigger/test/built"
)

// KubeVariable names the environment variable with the path of the binary to use.
const KubeVariable = "OUTRIGGER_TEST_KUBE"

// kube returns the path of the binary that is etcd and kube-apiserver, built from
// test/kube if the cache lacks it.
func kube(ctx context.Context) (string, error) {
	if path := os.Getenv(KubeVariable); path != "" {
		return path, nil
	}
	dir, err := built.Kube(ctx, os.Stderr)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "kube"), nil
}
