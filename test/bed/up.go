//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"outrigger.dev/outrigger/test/built"
)

// up brings up the cluster and Tekton. What is made once is made first, so that
// an interrupted up has nothing running that waits for a compiler.
func up(ctx context.Context, b *bed) error {
	pause, tools, err := b.build(ctx)
	if err != nil {
		return err
	}
	b.say("programs and files are there")
	cold := b.find("kubelet") == 0
	if err := b.pki(); err != nil {
		return err
	}
	if err := b.networkUp(ctx); err != nil {
		return err
	}
	if err := b.containerdUp(); err != nil {
		return err
	}
	if err := b.apiUp(); err != nil {
		return err
	}
	g, each := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := b.containerdReady(each); err != nil {
			return err
		}
		if err := b.load(each, b.images(pause, tools)); err != nil {
			return err
		}
		b.say("images are in containerd")
		return nil
	})
	g.Go(func() error {
		if err := b.apiReady(each); err != nil {
			return err
		}
		b.say("API server is ready")
		if cold {
			if err := b.forgetLeaders(each); err != nil {
				return err
			}
		}
		return b.controllersUp()
	})
	if err := g.Wait(); err != nil {
		return err
	}
	client, err := b.client()
	if err != nil {
		return err
	}
	if err := b.nodeUp(); err != nil {
		return err
	}
	if err := b.storageUp(ctx); err != nil {
		return err
	}
	if err := b.nodeReady(ctx, client); err != nil {
		return err
	}
	b.say("node is Ready")
	if err := b.dnsUp(ctx); err != nil {
		return err
	}
	if err := b.tektonUp(ctx); err != nil {
		return err
	}
	b.say("Tekton answers")
	if err := b.dnsReady(ctx); err != nil {
		return err
	}
	b.say("up: export KUBECONFIG=%s", b.kubeconfig("admin"))
	return nil
}

// build makes what the cache lacks.
func (b *bed) build(ctx context.Context) (pause, tools string, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		tools, err = b.toolFiles(ctx)
		return err
	})
	g.Go(func() (err error) { // one after the other: each has the compiler use all cores
		began := time.Now()
		if b.kube, err = built.Kube(ctx, b.out); err != nil {
			return err
		}
		if b.tekton, err = built.Tekton(ctx, b.out); err != nil {
			return err
		}
		if b.coredns, err = built.CoreDNS(ctx, b.out); err != nil {
			return err
		}
		if pause, err = built.Pause(ctx, b.out); err != nil {
			return err
		}
		if took := time.Since(began); took > 10*time.Second {
			b.say("built in %.0f s", took.Seconds())
		}
		return nil
	})
	return pause, tools, g.Wait()
}

func (b *bed) client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", b.kubeconfig("admin"))
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// forgetLeaders deletes the leases of leaders that down has killed: others would
// wait for a minute until those have run out.
func (b *bed) forgetLeaders(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(b.state, "tekton.applied")); err != nil {
		return nil // nothing ran yet
	}
	for _, namespace := range []string{"tekton-pipelines", "tekton-pipelines-resolvers", "outrigger-system"} {
		if _, err := b.kubectl(ctx, "-n", namespace, "delete", "lease", "--all", "--ignore-not-found", "--wait=false"); err != nil {
			return err
		}
	}
	return nil
}
