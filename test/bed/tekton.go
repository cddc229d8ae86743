//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"outrigger.dev/outrigger/test/built"
)

// tektonImages are Tekton's programs, each an image.
var tektonImages = []string{"controller", "webhook", "resolvers", "entrypoint", "nop", "workingdirinit", "sidecarlogresults"}

// tektonImage has the build as its tag, so that another build is rolled out.
func (b *bed) tektonImage(name string) string {
	return "registry.local/tekton/" + name + ":" + strings.TrimPrefix(filepath.Base(b.tekton), "tekton-")
}

var (
	koImage    = regexp.MustCompile(`ko://github.com/tektoncd/pipeline/cmd/([a-z]+)`)
	shellImage = regexp.MustCompile(`cgr.dev/chainguard/busybox@sha256:[0-9a-f]+`)
	tini       = regexp.MustCompile(`(?m)^ +- (/sbin/tini|--)\n`)
)

// tektonFlags let the examples do all that Tekton can.
const tektonFlags = `{"data": {"enable-api-fields": "alpha", "enable-param-enum": "true", "enable-artifacts": "true",
  "enable-cel-in-whenexpression": "true", "enable-step-actions": "true", "enable-concise-resolver-syntax": "true", "send-cloudevents-for-runs": "false"}}`

// tektonUp installs Tekton from its own module's manifests.
func (b *bed) tektonUp(ctx context.Context) error {
	version, err := built.ModuleVersion(ctx, "kube", "github.com/tektoncd/pipeline")
	if err != nil {
		return err
	}
	manifests, err := b.tektonManifests(ctx, version)
	if err != nil {
		return err
	}
	if err := write(b.in("tekton.yaml"), manifests.namespaces+manifests.rest, 0o644); err != nil {
		return err
	}
	if done, err := os.ReadFile(b.in("tekton.applied")); err != nil || string(done) != manifests.rest {
		for _, text := range []string{manifests.namespaces, manifests.rest} {
			if err := b.apply(ctx, text); err != nil {
				return err
			}
		}
		if _, err := b.kubectl(ctx, "-n", "tekton-pipelines", "patch", "configmap", "feature-flags", "--type=merge", "-p", tektonFlags); err != nil {
			return err
		}
		if err := write(b.in("tekton.applied"), manifests.rest, 0o644); err != nil {
			return err
		}
		b.say("Tekton %s applied", version)
	}
	return b.tektonReady(ctx)
}

// tektonReady asks the webhook itself: after a restart Pods look ready that are not.
func (b *bed) tektonReady(ctx context.Context) error {
	for _, namespace := range []string{"tekton-pipelines", "tekton-pipelines-resolvers"} {
		if _, err := b.kubectl(ctx, "-n", namespace, "rollout", "status", "deployment", "--timeout=180s"); err != nil {
			return err
		}
	}
	const probe = `{"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"generateName": "probe-", "namespace": "default"},
  "spec": {"taskSpec": {"steps": [{"image": "x", "script": "true"}]}}}`
	return b.await(ctx, "Tekton's webhook", 2*time.Minute, []string{"kubelet", "kube-proxy"}, func(ctx context.Context) error {
		_, err := feed(ctx, probe, filepath.Join(b.kube, "kubectl"), "--kubeconfig", b.kubeconfig("admin"), "create", "--dry-run=server", "-f", "-")
		return err
	})
}

type tektonManifests struct{ namespaces, rest string }

func (b *bed) tektonManifests(ctx context.Context, version string) (tektonManifests, error) {
	module, err := built.ModuleDir(ctx, "kube", "github.com/tektoncd/pipeline")
	if err != nil {
		return tektonManifests{}, err
	}
	var m tektonManifests
	err = filepath.WalkDir(filepath.Join(module, "config"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		switch d.Name() {
		case "webhook-hpa.yaml", "events.yaml", "config-leader-election-events.yaml": // no metrics server; no receiver of events
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := koImage.ReplaceAllStringFunc(string(data), func(s string) string { return b.tektonImage(s[strings.LastIndex(s, "/")+1:]) })
		text = shellImage.ReplaceAllString(text, toolsImage)
		text = tini.ReplaceAllString(text, "") // that is of an image that we have not
		text = "---\n" + strings.ReplaceAll(text, `"devel"`, fmt.Sprintf("%q", version)) + "\n"
		if strings.Contains(d.Name(), "namespace") {
			m.namespaces += text
		} else {
			m.rest += text
		}
		return nil
	})
	if err == nil && m.namespaces == "" {
		err = errors.New("no manifests in " + module)
	}
	return m, err
}
