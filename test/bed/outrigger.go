//go:build linux

package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"outrigger.dev/outrigger/test/built"
)

const outriggerImages = "registry.local/outrigger/"

// install brings Outrigger into the cluster, as `make images` has packed it. The
// tag of an image is its content, so that what has changed is rolled out, and only that.
func install(ctx context.Context, b *bed) error {
	var err error
	if b.kube, err = built.Kube(ctx, b.out); err != nil {
		return err
	}
	tags := map[string]string{}
	for _, name := range []string{"controller", "relay", "cli"} {
		if tags[name], err = b.loadArchive(ctx, filepath.Join(b.checkout, "bin", "images", name+".tar"), outriggerImages+name); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	// The Task of deploy/tekton names no build.
	if _, err := b.ctr(ctx, "images", "tag", "--force", outriggerImages+"cli:"+tags["cli"], outriggerImages+"cli:dev"); err != nil {
		return err
	}
	overlay, err := b.overlay(tags)
	if err != nil {
		return err
	}
	if _, err := b.kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-k", overlay); err != nil {
		return err
	}
	b.say("Outrigger applied: controller:%s relay:%s", tags["controller"], tags["relay"])
	if _, err := b.kubectl(ctx, "-n", "outrigger-system", "rollout", "status", "deployment/outrigger-controller", "--timeout=180s"); err != nil {
		logs, _ := b.kubectl(ctx, "-n", "outrigger-system", "logs", "deployment/outrigger-controller", "--tail=30") // there may be none
		return fmt.Errorf("%w\n%s", err, logs)
	}
	b.say("Outrigger is ready")
	return nil
}

// overlay is a kustomization with the images of this build.
func (b *bed) overlay(tags map[string]string) (dir string, err error) {
	dir = b.in("outrigger")
	base, err := filepath.Rel(dir, filepath.Join(b.checkout, "deploy", "kustomize"))
	if err != nil {
		return "", err
	}
	// Where else an image is named is said in a file of the base, which an overlay does not inherit.
	where, err := os.ReadFile(filepath.Join(b.checkout, "deploy", "kustomize", "images.yaml"))
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [%s]
configurations: [images.yaml]
images:
- {name: %[2]scontroller, newTag: %[3]s}
- {name: %[2]srelay, newTag: %[4]s}
`, base, outriggerImages, tags["controller"], tags["relay"])
	return dir, errors.Join(
		write(filepath.Join(dir, "images.yaml"), string(where), 0o644),
		write(filepath.Join(dir, "kustomization.yaml"), text, 0o644))
}

// loadArchive gives containerd an image out of an archive and returns its tag, which is its content.
func (b *bed) loadArchive(ctx context.Context, file, name string) (tag string, err error) {
	named, digest, err := archiveName(file)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: make images first", err)
		}
		return "", err
	}
	tag = digest[:min(12, len(digest))]
	have, err := b.ctr(ctx, "images", "ls", "-q", "name=="+name+":"+tag)
	if err != nil || strings.TrimSpace(have) != "" {
		return tag, err
	}
	if _, err := b.ctr(ctx, "images", "import", file); err != nil {
		return "", err
	}
	_, err = b.ctr(ctx, "images", "tag", "--force", named, name+":"+tag)
	return tag, err
}

// archiveName reads what an image is called in its archive, and its digest.
func archiveName(file string) (name, digest string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			return "", "", fmt.Errorf("%s: no index.json: %w", file, err)
		}
		if h.Name != "index.json" {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(r, 1<<20))
		if err != nil {
			return "", "", err
		}
		var index struct {
			Manifests []struct {
				Digest      string            `json:"digest"`
				Annotations map[string]string `json:"annotations"`
			} `json:"manifests"`
		}
		if err := json.Unmarshal(data, &index); err != nil {
			return "", "", fmt.Errorf("%s: %w", file, err)
		}
		if len(index.Manifests) != 1 || index.Manifests[0].Annotations["io.containerd.image.name"] == "" {
			return "", "", fmt.Errorf("%s: want one image with a name in it, found %s", file, data)
		}
		return index.Manifests[0].Annotations["io.containerd.image.name"], strings.TrimPrefix(index.Manifests[0].Digest, "sha256:"), nil
	}
}
