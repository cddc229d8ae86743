// Package built builds programs of the modules below test/ (Kubernetes, Tekton,
// CoreDNS: hundreds of modules that are not ours) and keeps them outside the
// checkout. What they are built from is their name, so a change makes another,
// and nothing that is there is built again.
package built

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gofrs/flock"
)

// Cache is the folder for what is made once and kept: ~/.cache/outrigger-dev as a rule.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "outrigger-dev"), nil
}

// Checkout is the nearest folder above the working one that has Outrigger's go.mod and CRDs.
func Checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "deploy", "kustomize", "crds")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no checkout of Outrigger above the working folder")
		}
		dir = parent
	}
}

// Kube returns the folder with the program kube: etcd, the parts of Kubernetes and
// kubectl in one, which does what the name says under which it is called.
func Kube(ctx context.Context, log io.Writer) (string, error) {
	version, err := ModuleVersion(ctx, "kube", "k8s.io/kubernetes")
	if err != nil {
		return "", err
	}
	major, minor, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	const at = " -X k8s.io/component-base/version."
	flags := at + "gitVersion=" + version + at + "gitMajor=" + major + at + "gitMinor=" + minor + at + "gitTreeState=clean"
	dir, err := programs(ctx, log, "kube", "kube", flags, ".")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"} {
		if err := os.Symlink("kube", filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	return dir, nil
}

// tektonPrograms are those of Tekton that a cluster runs.
var tektonPrograms = []string{"controller", "webhook", "resolvers", "entrypoint", "nop", "workingdirinit", "sidecarlogresults"}

// Tekton returns the folder with Tekton's programs.
func Tekton(ctx context.Context, log io.Writer) (string, error) {
	packages := make([]string, len(tektonPrograms))
	for i, name := range tektonPrograms {
		packages[i] = "github.com/tektoncd/pipeline/cmd/" + name
	}
	return programs(ctx, log, "kube", "tekton", "", packages...)
}

// CoreDNS returns the folder with the program coredns.
func CoreDNS(ctx context.Context, log io.Writer) (string, error) {
	return programs(ctx, log, "coredns", "coredns", "", ".")
}

// Pause returns the folder with the program pause.
func Pause(ctx context.Context, log io.Writer) (string, error) {
	return programs(ctx, log, "bed/pause", "pause", "", ".")
}

// programs builds packages in the folder test/MODULE into a folder called NAME-DIGEST.
// One process builds at a time; the others wait for what it makes.
func programs(ctx context.Context, log io.Writer, module, name, ldflags string, packages ...string) (string, error) {
	checkout, err := Checkout()
	if err != nil {
		return "", err
	}
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	source := filepath.Join(checkout, "test", module)
	sum, err := digest(source, append([]string{runtime.Version(), ldflags}, packages...))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name+"-"+sum)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(cache, name+".lock"))
	if err := lock.Lock(); err != nil {
		return "", err
	}
	defer lock.Unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintf(log, "building %s from test/%s, once\n", name, module)
	draft := dir + ".draft" // the lock is ours
	if err := errors.Join(os.RemoveAll(draft), os.Mkdir(draft, 0o755)); err != nil {
		return "", err
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w" + ldflags, "-o", draft + "/"}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build of test/%s: %w\n%s", module, err, out)
	}
	return dir, os.Rename(draft, dir)
}

// digest names what a program is built from: the module's files and how it is built.
func digest(dir string, words []string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum"))
	slices.Sort(files)
	h := sha256.New()
	for _, word := range words {
		fmt.Fprintf(h, "%s\x00", word)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // a folder of our own module has no go.mod
			return "", err
		}
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// ModuleVersion is the version of a Go module that the module test/MODULE uses.
func ModuleVersion(ctx context.Context, module, path string) (string, error) {
	return ask(ctx, module, "{{.Version}}", path)
}

// ModuleDir is where the files of such a module are.
func ModuleDir(ctx context.Context, module, path string) (string, error) {
	// "list" alone says nothing of a module that was not downloaded yet.
	checkout, err := Checkout()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download", path)
	cmd.Dir = filepath.Join(checkout, "test", module)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("download of %s: %w\n%s", path, err, out)
	}
	return ask(ctx, module, "{{.Dir}}", path)
}

func ask(ctx context.Context, module, format, path string) (string, error) {
	checkout, err := Checkout()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", format, path)
	cmd.Dir = filepath.Join(checkout, "test", module)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list -m %s in test/%s: %w", path, module, err)
	}
	return strings.TrimSpace(string(out)), nil
}
