//go:build e2e && kills

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// controllers is the namespace of Outrigger's controller.
const controllers = "outrigger-system"

// Both replicas of the controller are killed in turn while TaskRuns are created: none of them fails for good.
// It runs alone, since everybody else's Pods need the controller too.
func TestTaskRunsWhileControllersAreKilled(t *testing.T) {
	p := begin(t, nil)
	const rounds, each = 4, 5
	for round := range rounds {
		replicas := p.controllers()
		if len(replicas) < 2 {
			t.Fatalf("%d replicas of the controller, want 2", len(replicas))
		}
		for i := range each {
			if i == 1 { // the API server has connections by now
				p.killController(replicas[round%2])
			}
			p.create(fmt.Sprintf(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: run-%d-%d
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  taskSpec:
    steps:
    - {name: main, image: "nowhere.example/none:1", env: [@MARK@], script: echo fine}
`, round, i))
		}
		p.await(func(ctx context.Context) (string, error) {
			d, err := p.Typed.AppsV1().Deployments(controllers).Get(ctx, "outrigger-controller", metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			if d.Status.ReadyReplicas < 2 {
				return fmt.Sprintf("%d replicas are ready", d.Status.ReadyReplicas), nil
			}
			return "", nil
		})
	}
	for round := range rounds {
		for i := range each {
			p.succeeds("TaskRun", fmt.Sprintf("run-%d-%d", round, i))
		}
	}
}

// controllers are the UIDs of the controller's Pods.
func (p *place) controllers() []string {
	p.t.Helper()
	list, err := p.Typed.CoreV1().Pods(controllers).List(p.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=outrigger-controller"})
	if err != nil {
		p.t.Fatal(err)
	}
	var uids []string
	for _, pod := range list.Items {
		uids = append(uids, string(pod.UID))
	}
	return uids
}

// killController kills the program of a Pod as the kernel does when memory is short.
func (p *place) killController(uid string) {
	p.t.Helper()
	for _, dir := range processes() {
		cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !strings.Contains(string(cgroup), uid) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !strings.Contains(string(line), "--relay-image=") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			p.t.Fatal(err)
		}
		return
	}
	p.t.Fatalf("Pod %s has no controller to kill", uid)
}
