//go:build e2e && kills

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// controllers is the namespace of Outrigger's controller.
const controllers = "outrigger-system"

// A replica is one of the controller's.
type replica struct{ name, uid string }

// ways are how a replica ends.
var ways = []struct {
	name string
	end  func(*place, replica)
}{
	{"killed", (*place).killController},
	{"deleted by force", func(p *place, r replica) { p.deleteController(r, "--grace-period=0", "--force") }},
	{"deleted", func(p *place, r replica) { p.deleteController(r) }},
}

// Replicas of the controller end in every way, one after the other and in the end both at once, while
// TaskRuns are created: none of them fails for good. It runs alone, since everybody else's Pods need
// the controller too.
func TestTaskRunsWhileControllersAreKilled(t *testing.T) {
	p := begin(t, nil)
	kills := 24
	if text := os.Getenv("OUTRIGGER_E2E_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatalf("OUTRIGGER_E2E_KILLS: %v", err)
		}
	}
	made := 0
	for i := range kills {
		replicas := p.controllers()
		way := ways[i%len(ways)]
		var begun sync.WaitGroup
		for n := range 6 {
			if n == 1 { // the API server has connections by now
				begun.Go(func() {
					way.end(p, replicas[(i/len(ways))%2])
					if i%8 == 7 {
						way.end(p, replicas[(i/len(ways)+1)%2])
					}
				})
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
`, i, n))
			made++
		}
		begun.Wait()
	}
	later := 0
	for i := range kills {
		for n := range 6 {
			name := fmt.Sprintf("run-%d-%d", i, n)
			if run := p.succeeds("TaskRun", name); p.triedAgain(run.GetCreationTimestamp().Time, name) {
				later++
			}
		}
	}
	t.Logf("%d ends of a replica, %d TaskRuns, of which %d were made again after a minute", kills, made, later)
}

// triedAgain tells whether Tekton had to create the TaskRun's Pod more than once.
func (p *place) triedAgain(created time.Time, name string) bool {
	p.t.Helper()
	pod, err := p.Typed.CoreV1().Pods(p.Name).Get(p.t.Context(), name+"-pod", metav1.GetOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	return pod.CreationTimestamp.Sub(created) > 30*time.Second
}

// controllers waits until two replicas are ready, and none is on its way out.
func (p *place) controllers() []replica {
	p.t.Helper()
	var ready []replica
	p.await(func(ctx context.Context) (string, error) {
		list, err := p.Typed.CoreV1().Pods(controllers).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=outrigger-controller"})
		if err != nil {
			return "", err
		}
		ready = nil
		for _, pod := range list.Items {
			if pod.DeletionTimestamp == nil && isReady(&pod) {
				ready = append(ready, replica{pod.Name, string(pod.UID)})
			}
		}
		if len(ready) < 2 {
			return fmt.Sprintf("%d replicas are ready", len(ready)), nil
		}
		return "", nil
	})
	return ready
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// deleteController deletes a replica's Pod.
func (p *place) deleteController(r replica, how ...string) {
	out, err := p.Command(p.t.Context(), append([]string{"-n", controllers, "delete", "pod", r.name, "--wait=false"}, how...)...).CombinedOutput()
	if err != nil {
		p.t.Errorf("delete %s: %v: %s", r.name, err, out)
	}
}

// killController kills the program of a Pod as the kernel does when memory is short.
func (p *place) killController(r replica) {
	for _, dir := range processes() {
		cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !strings.Contains(string(cgroup), r.uid) {
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
			p.t.Errorf("kill %s: %v", r.name, err)
		}
		return
	}
	p.t.Errorf("Pod %s has no controller to kill", r.name)
}
