//go:build e2e

package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An image that exists nowhere: the machine has none, and the node never asks for it.
const pod = `
apiVersion: v1
kind: Pod
metadata:
  name: plain
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: macos-sequoia-xcode:16
    env: [@MARK@, {name: GREETING, value: "hello $(NAME)"}, {name: NAME, value: x}]
    command: [sh, -c]
    args: ['[ -e /outrigger ] || echo "$GREETING from a machine"; echo oops >&2; exit 3']
`

func TestPlainPod(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(pod)
	status := p.pod("plain", ended).Status.ContainerStatuses[0]
	if end := status.State.Terminated; end == nil || end.ExitCode != 3 {
		t.Errorf("the container is %+v, want exit code 3", status.State)
	}
	stdout, stderr := p.log("plain", "main")
	if stdout != "hello $(NAME) from a machine\n" || stderr != "oops\n" {
		t.Errorf("it wrote %q and, on stderr, %q", stdout, stderr)
	}
	p.await(func(ctx context.Context) (string, error) {
		claims, err := p.List(ctx, "outrigger.dev/MachineClaim", p.Name)
		if err != nil || len(claims) != 1 {
			return "there is not one claim", err
		}
		status, ok := claims[0].Object["status"].(map[string]any)
		if !ok || status["phase"] != "Released" {
			return "the claim of a Pod that has ended is not released", nil
		}
		return "", nil
	})
}

func TestJob(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    metadata:
      annotations: {outrigger.dev/pool: @POOL@}
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: nowhere.example/none:1
        env: [@MARK@]
        command: [sh, -c, 'echo $JOB_COMPLETION_INDEX']
`)
	p.await(func(ctx context.Context) (string, error) {
		job, err := p.Typed.BatchV1().Jobs(p.Name).Get(ctx, "job", metav1.GetOptions{})
		if err == nil && job.Status.Succeeded < 3 {
			return "the Job is not complete", nil
		}
		return "", err
	})
	var wrote []string
	for _, pod := range p.pods("job-name=job") {
		stdout, _ := p.log(pod.Name, "main")
		wrote = append(wrote, strings.TrimSpace(stdout))
	}
	slices.Sort(wrote)
	if want := []string{"0", "1", "2"}; !slices.Equal(wrote, want) {
		t.Errorf("the Pods wrote %q, want %q", wrote, want)
	}
}

func TestCronJob(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: batch/v1
kind: CronJob
metadata: {name: minutely}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        metadata:
          labels: {from: cron}
          annotations: {outrigger.dev/pool: @POOL@}
        spec:
          restartPolicy: Never
          containers:
          - name: main
            image: nowhere.example/none:1
            env: [@MARK@]
            command: [sh, -c, 'echo it is time']
`)
	var first string
	p.await(func(ctx context.Context) (string, error) {
		for _, pod := range p.pods("from=cron") {
			if pod.Status.Phase == corev1.PodSucceeded {
				first = pod.Name
				return "", nil
			}
		}
		return "no Pod of the CronJob has succeeded", nil
	})
	p.logs(first, "main", "it is time\n")
}

// A relay that dies is started again by the kubelet. The command went on without it.
func TestRestartedContainerRunsOnce(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: v1
kind: Pod
metadata:
  name: once
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  restartPolicy: OnFailure
  containers:
  - name: main
    image: nowhere.example/none:1
    env: [@MARK@]
    command: [sh, -c]
    args: ['echo started >> /data/count; until [ -e /data/go ]; do sleep 0.2; done; echo "starts: $(wc -l < /data/count)"']
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
`)
	first := p.pod("once", func(pod *corev1.Pod) bool { return running(pod) && len(p.remote()) > 0 })
	p.killRelay(first)
	p.pod("once", func(pod *corev1.Pod) bool {
		return running(pod) && pod.Status.ContainerStatuses[0].RestartCount == 1 && pod.Status.ContainerStatuses[0].State.Running != nil
	})
	if n := len(p.remote()); n == 0 {
		t.Error("the command ended with its relay")
	}
	p.kubectl("exec", "once", "--", "/outrigger/bin/shell", "touch", "/data/go")
	if end := p.pod("once", ended); end.Status.Phase != corev1.PodSucceeded {
		t.Errorf("the Pod %s: %+v", end.Status.Phase, end.Status.ContainerStatuses)
	}
	stdout, _ := p.log("once", "main")
	if !strings.HasSuffix(stdout, "starts: 1\n") {
		t.Errorf("it wrote %q, want one start", stdout)
	}
}

// Whoever ends the Pod ends the tree of processes on the machine.
func TestEndOfThePodEndsTheTree(t *testing.T) {
	t.Parallel()
	const yaml = `
apiVersion: v1
kind: Pod
metadata:
  name: tree
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 3
  containers:
  - name: main
    image: nowhere.example/none:1
    env: [@MARK@]
    # Three generations, one of them with a session of its own; TERM is ignored.
    command: [sh, -c, 'trap "" TERM; setsid sleep 3600 & (sleep 3600 & sleep 3600) & echo up; while :; do sleep 1; done']
`
	for _, tt := range []struct {
		name string
		end  func(*place) error
	}{
		{"deletion", func(p *place) error {
			return p.Typed.CoreV1().Pods(p.Name).Delete(p.t.Context(), "tree", metav1.DeleteOptions{})
		}},
		{"eviction", func(p *place) error {
			return p.Typed.CoreV1().Pods(p.Name).EvictV1(p.t.Context(), eviction("tree"))
		}},
		{"deletion at once", func(p *place) error {
			now := int64(0)
			return p.Typed.CoreV1().Pods(p.Name).Delete(p.t.Context(), "tree", metav1.DeleteOptions{GracePeriodSeconds: &now})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := begin(t, nil)
			p.create(yaml)
			p.pod("tree", func(pod *corev1.Pod) bool { return running(pod) && len(p.remote()) >= 4 })
			if err := tt.end(p); err != nil {
				t.Fatal(err)
			}
			p.await(func(context.Context) (string, error) { return strings.Join(p.remote(), "; "), nil })
		})
	}
}
