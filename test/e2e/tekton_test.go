//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/test/e2e/user"
)

// results are a run's results, those that are texts.
func results(t *testing.T, run unstructured.Unstructured) map[string]string {
	t.Helper()
	list, _, err := unstructured.NestedSlice(run.Object, "status", "results")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, r := range list {
		if m, ok := r.(map[string]any); ok {
			found[fmt.Sprint(m["name"])] = fmt.Sprint(m["value"])
		}
	}
	return found
}

// A pipeline with all that a run can be made of: a matrix, a failure that is
// retried, one that is ignored, onError, results, finally.
func TestPipeline(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata:
  name: pipe
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  pipelineSpec:
    tasks:
    - name: each
      matrix: {params: [{name: number, value: ["1", "2", "3"]}]}
      taskSpec:
        params: [{name: number}]
        results: [{name: got}]
        steps:
        - name: main
          image: nowhere.example/none:1
          env: [@MARK@]
          script: printf %s got$(params.number) > $(results.got.path)
    - name: collect
      params: [{name: got, value: "$(tasks.each.results.got[*])"}]
      taskSpec:
        params: [{name: got, type: array}]
        steps:
        - {name: main, image: "nowhere.example/none:1", env: [@MARK@], args: ["$(params.got[*])"], script: 'echo "$@"'}
    - name: again
      retries: 2
      taskSpec:
        steps:
        - name: main
          image: nowhere.example/none:1
          env: [@MARK@]
          script: echo try $(context.task.retry-count); [ $(context.task.retry-count) = 1 ]
    - name: ignored
      onError: continue
      taskSpec:
        steps:
        - {name: main, image: "nowhere.example/none:1", env: [@MARK@], script: exit 9}
    - name: steps
      taskSpec:
        steps:
        - {name: fails, image: "nowhere.example/none:1", env: [@MARK@], onError: continue, script: exit 4}
        - {name: reads, image: "nowhere.example/none:1", env: [@MARK@], script: 'cat $(steps.step-fails.exitCode.path)'}
    finally:
    - name: last
      params: [{name: status, value: "$(tasks.status) $(tasks.ignored.status)"}]
      taskSpec:
        params: [{name: status}]
        steps:
        - {name: main, image: "nowhere.example/none:1", env: [@MARK@], script: 'echo "$(params.status)"'}
`)
	p.succeeds("PipelineRun", "pipe")
	p.logs("pipe-collect-pod", "step-main", "got1 got2 got3\n")
	p.logs("pipe-again-pod", "step-main", "try 0\n")
	p.logs("pipe-again-pod-retry1", "step-main", "try 1\n")
	p.logs("pipe-steps-pod", "step-reads", "4")
	// Tekton counts a failure that is ignored in $(tasks.status), as it does on a node.
	p.logs("pipe-last-pod", "step-main", "Failed Failed\n")
}

// A step, a TaskRun and a user each end what takes too long: no process stays on the machine.
func TestTimeoutAndCancel(t *testing.T) {
	t.Parallel()
	const yaml = `
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: long
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  timeout: %s
  taskSpec:
    steps:
    - name: main
      image: nowhere.example/none:1
      env: [@MARK@]
      timeout: %s
      script: |
        sleep 3600 &
        sleep 3600
`
	for _, tt := range []struct {
		name, timeout, step string
		cancel              bool
		reason              string
	}{
		{name: "step", timeout: "10m", step: "20s", reason: "Failed"},
		{name: "taskrun", timeout: "30s", step: "10m", reason: "TaskRunTimeout"},
		{name: "cancel", timeout: "10m", step: "10m", cancel: true, reason: "TaskRunCancelled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := begin(t, nil)
			p.create(fmt.Sprintf(yaml, tt.timeout, tt.step))
			p.await(func(context.Context) (string, error) {
				if len(p.remote()) < 2 {
					return "the step has not started", nil
				}
				return "", nil
			})
			if tt.cancel {
				p.kubectl("patch", "taskrun", "long", "--type=merge", "-p", `{"spec":{"status":"TaskRunCancelled"}}`)
			}
			c := user.Succeeded(p.run("TaskRun", "long"))
			if c.Status != metav1.ConditionFalse || !strings.Contains(c.Reason, tt.reason) {
				t.Errorf("the TaskRun is %s, %s: %s; want it to fail with %s", c.Status, c.Reason, c.Message, tt.reason)
			}
			p.await(func(context.Context) (string, error) { return strings.Join(p.remote(), "; "), nil })
		})
	}
}

// Results go through the container's termination message: 4096 bytes with all that Tekton adds.
func TestResultAtTheLimit(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: fits
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  taskSpec:
    results: [{name: big}]
    steps:
    - name: main
      image: nowhere.example/none:1
      env: [@MARK@]
      script: head -c 3800 /dev/zero | tr '\0' x > $(results.big.path)
---
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: toolarge
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  taskSpec:
    results: [{name: big}]
    steps:
    - name: main
      image: nowhere.example/none:1
      env: [@MARK@]
      script: head -c 4200 /dev/zero | tr '\0' x > $(results.big.path)
`)
	if got := results(t, p.succeeds("TaskRun", "fits"))["big"]; got != strings.Repeat("x", 3800) {
		t.Errorf("a result of 3800 bytes came with %d", len(got))
	}
	if c := user.Succeeded(p.run("TaskRun", "toolarge")); c.Status != metav1.ConditionFalse {
		t.Errorf("a result of 4200 bytes: %s %s, want a failure, as on a node", c.Reason, c.Message)
	}
}

// Tekton puts a service account's credentials in the home of each step.
func TestCredentials(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: v1
kind: Secret
metadata: {name: git, annotations: {tekton.dev/git-0: "https://git.example"}}
type: kubernetes.io/basic-auth
stringData: {username: jane, password: pass}
---
apiVersion: v1
kind: Secret
metadata: {name: docker, annotations: {tekton.dev/docker-0: "https://registry.example"}}
type: kubernetes.io/basic-auth
stringData: {username: joe, password: word}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
secrets: [{name: git}, {name: docker}]
---
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: creds
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  serviceAccountName: robot
  taskSpec:
    steps:
    - name: main
      image: nowhere.example/none:1
      env: [@MARK@]
      script: |
        cat $HOME/.git-credentials
        grep -c registry.example $HOME/.docker/config.json
        stat -Lc %a $HOME/.git-credentials
`)
	p.succeeds("TaskRun", "creds")
	p.logs("creds-pod", "step-main", "https://jane:pass@git.example\n1\n600\n")
	// The machine is another's next: its home has none of it.
	p.create(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: after
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  taskSpec:
    steps:
    - {name: main, image: "nowhere.example/none:1", env: [@MARK@], script: 'ls $HOME/.git-credentials $HOME/.docker/config.json 2>/dev/null || true'}
`)
	p.succeeds("TaskRun", "after")
	p.logs("after-pod", "step-main", "")
}

// Steps on Linux before, between and after those on the machine see the same files.
func TestStepsOnLinuxBetween(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	step := func(name, image string) string {
		return fmt.Sprintf(`
    - name: %s
      image: %s
      env: [@MARK@]
      script: |
        [ -e /outrigger ] && where=linux || where=machine
        [ -e /proc/self/root/etc/hostname ]; echo "%s" >> /workspace/trace
        rm -f /workspace/last; echo %s > /workspace/last; cat /workspace/trace`, name, image, name, name)
	}
	p.create(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: mixed
  annotations: {outrigger.dev/pool: @POOL@, outrigger.dev/containers: "two,four"}
spec:
  taskSpec:
    steps:` + step("one", "@TOOLS@") + step("two", "nowhere.example/none:1") + step("three", "@TOOLS@") +
		step("four", "nowhere.example/none:1") + step("five", "@TOOLS@"))
	p.succeeds("TaskRun", "mixed")
	p.logs("mixed-pod", "step-five", "one\ntwo\nthree\nfour\nfive\n")
}

// 100 MB of output come through to the byte. Tekton writes the relay's standard
// output to a file here, as the kubelet keeps only the last of so long a log.
func TestHundredMegabytesOfOutput(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: loud
  annotations: {outrigger.dev/pool: @POOL@, outrigger.dev/containers: "write,log", outrigger.dev/sync.out: none}
spec:
  taskSpec:
    volumes: [{name: out, emptyDir: {}}]
    results: [{name: sum}]
    steps:
    - name: write
      image: nowhere.example/none:1
      env: [@MARK@]
      volumeMounts: [{name: out, mountPath: /out}]
      stdoutConfig: {path: /out/log}
      script: |
        #!/bin/bash
        seq -f '%099.0f' 1000000 | tee >(sha256sum | cut -c1-64 | tr -d '\n' > $(results.sum.path))
        until [ -s $(results.sum.path) ]; do sleep 0.1; done
    - name: count
      image: @TOOLS@
      volumeMounts: [{name: out, mountPath: /out}]
      script: wc -c < /out/log; sha256sum < /out/log | cut -c1-64
    - name: log
      image: nowhere.example/none:1
      env: [@MARK@]
      script: seq -f '%099.0f' 1000000
`)
	run := p.succeeds("TaskRun", "loud")
	p.logs("loud-pod", "step-count", "100000000\n"+results(t, run)["sum"]+"\n")
	if got, want := p.kubectl("logs", "loud-pod", "-c", "step-log", "--tail=2"), fmt.Sprintf("%099d\n%099d\n", 999999, 1000000); got != want {
		t.Errorf("kubectl logs --tail=2: %q, want %q", got, want)
	}
}

// Everything that a user sees of the claim while it waits and when it is served.
func TestClaimTellsWhereItIs(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(pod)
	done := p.pod("plain", ended)
	claim := p.kubectl("get", "machineclaims", "-o", "json")
	var list struct {
		Items []struct {
			Status struct {
				Machine    string             `json:"machine"`
				BoundAt    *metav1.Time       `json:"boundAt"`
				ReadyAt    *metav1.Time       `json:"readyAt"`
				Conditions []metav1.Condition `json:"conditions"`
			} `json:"status"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(claim), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("claims: %v\n%s", err, claim)
	}
	status := list.Items[0].Status
	if status.Machine == "" || status.BoundAt == nil || status.ReadyAt == nil || done.Annotations["outrigger.dev/machine"] != status.Machine {
		t.Errorf("the claim's status is %+v and the Pod's annotations are %v", status, done.Annotations)
	}
}
