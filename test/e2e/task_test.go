//go:build e2e

package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/test/built"
	"outrigger.dev/outrigger/test/e2e/user"
)

// deployed fills in what a user applies of deploy/tekton.
func deployed(t *testing.T) string {
	t.Helper()
	root, err := built.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range []string{"rbac.yaml", "outrigger-run.yaml", "outrigger-claim.yaml", "pipeline.yaml"} {
		b, err := os.ReadFile(filepath.Join(root, "deploy", "tekton", name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return strings.Join(all, "\n---\n")
}

// The Task for clusters without the webhook: workspaces both ways, a result, a script's $$ and
// $(...) as they were written, and the exit code.
func TestTheTaskTakesAMachineItself(t *testing.T) {
	t.Parallel()
	p := begin(t, map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}) // it needs no privileges
	p.create(deployed(t))
	p.create(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: ws}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: pipe}
spec:
  taskRunTemplate: {serviceAccountName: outrigger-run}
  workspaces: [{name: ws, persistentVolumeClaim: {claimName: ws}}]
  pipelineSpec:
    workspaces: [{name: ws}]
    results: [{name: out, value: $(tasks.machine.results.result)}]
    tasks:
    - name: before
      workspaces: [{name: ws}]
      taskSpec:
        workspaces: [{name: ws}]
        steps: [{name: main, image: "@TOOLS@", script: 'echo linux > $(workspaces.ws.path)/in'}]
    - name: machine
      runAfter: [before]
      taskRef: {name: outrigger-run}
      workspaces: [{name: source, workspace: ws}]
      params:
      - {name: pool, value: "@POOL@"}
      - {name: workdir, value: /workspace/source}
      - {name: env, value: "E2E_MARK=@NAMESPACE@\nGREETING=hello there"}
      - name: script
        value: |
          #!/bin/bash
          echo "$(cat in) $GREETING"
          [ "$$" = "$BASHPID" ] || exit 9
          echo back > out
          printf value > "$RESULT"
    - name: after
      runAfter: [machine]
      workspaces: [{name: ws}]
      taskSpec:
        workspaces: [{name: ws}]
        steps: [{name: main, image: "@TOOLS@", script: 'cat $(workspaces.ws.path)/out'}]
---
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: fails}
spec:
  serviceAccountName: outrigger-run
  taskRef: {name: outrigger-run}
  params:
  - {name: pool, value: "@POOL@"}
  - {name: env, value: "E2E_MARK=@NAMESPACE@"}
  - {name: script, value: exit 7}
`)
	run := p.succeeds("PipelineRun", "pipe")
	if got := results(t, run)["out"]; got != "value" {
		t.Errorf("the result is %q", got)
	}
	if out, errs := p.log("pipe-machine-pod", "step-run"); out != "linux hello there\n" {
		t.Errorf("the script wrote %q, %q", out, errs)
	}
	if out, _ := p.log("pipe-after-pod", "step-main"); out != "back\n" {
		t.Errorf("the Task behind it found %q", out)
	}
	pod := p.pod("fails-pod", ended)
	if code := pod.Status.ContainerStatuses[0].State.Terminated.ExitCode; code != 7 {
		t.Errorf("exit code %d, want the script's 7", code)
	}
}

// Cancelled, it ends what runs there and gives the machine back; begin's end looks for both.
func TestTheTaskIsCancelled(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(deployed(t))
	p.create(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: long}
spec:
  serviceAccountName: outrigger-run
  taskRef: {name: outrigger-run}
  params:
  - {name: pool, value: "@POOL@"}
  - {name: env, value: "E2E_MARK=@NAMESPACE@"}
  - {name: script, value: "echo begun; sleep 600"}
`)
	p.await(func(ctx context.Context) (string, error) {
		// Whatever is wrong now, there is no Pod yet, or its container has not begun.
		if out, err := p.Log(ctx, "long-pod", "step-run"); err != nil || !strings.Contains(out, "begun") {
			return "the script has not begun", nil
		}
		return "", nil
	})
	p.kubectl("patch", "taskrun", "long", "--type=merge", "-p", `{"spec":{"status":"TaskRunCancelled"}}`)
	p.run("TaskRun", "long")
}

// Two PipelineRuns side by side, each with several Tasks on one machine, cannot meet: the names are of
// each run alone. One ends well; the other is cancelled so that its "finally" never runs, and its
// machine is given back all the same.
func TestRunsWithAMachineEach(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(deployed(t))
	p.create(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: ws}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: long}
spec:
  taskRunTemplate: {serviceAccountName: outrigger-run}
  pipelineSpec:
    tasks:
    - {name: machine, taskRef: {name: outrigger-claim}, params: [{name: pool, value: "@POOL@"}]}
    - name: build
      taskRef: {name: outrigger-run}
      params:
      - {name: claim, value: $(tasks.machine.results.claim)}
      - {name: env, value: "E2E_MARK=@NAMESPACE@"}
      - {name: script, value: "echo begun; sleep 600"}
    finally:
    - {name: release, taskRef: {name: outrigger-release}, params: [{name: claim, value: $(tasks.machine.results.claim)}]}
`)
	p.await(func(ctx context.Context) (string, error) {
		if out, err := p.Log(ctx, "long-build-pod", "step-run"); err != nil || !strings.Contains(out, "begun") {
			return "the script has not begun", nil
		}
		return "", nil
	})
	p.create(`
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: quick}
spec:
  pipelineRef: {name: outrigger-example}
  taskRunTemplate: {serviceAccountName: outrigger-run}
  params: [{name: pool, value: "@POOL@"}]
  workspaces: [{name: source, persistentVolumeClaim: {claimName: ws}}]
`)
	p.await(func(ctx context.Context) (string, error) {
		run, err := p.Get(ctx, "tekton.dev/PipelineRun", p.Name, "quick")
		if err != nil {
			return "", err
		}
		switch c := user.Succeeded(*run); c.Status {
		case metav1.ConditionTrue:
			return "", nil
		case metav1.ConditionFalse:
			return "", errors.New(c.Message)
		}
		return "the quick run is not over", nil
	})
	if out, errs := p.log("quick-test-pod", "step-run"); out != "Linux x86_64\nwarm\n" {
		t.Errorf("the second Task found %q, %s", out, errs)
	}
	claims, err := p.List(t.Context(), "outrigger.dev/MachineClaim", p.Name)
	if err != nil || len(claims) != 1 {
		t.Fatalf("%d claims, %v; want that of the run that goes on", len(claims), err)
	}
	machine, _, _ := unstructured.NestedString(claims[0].Object, "status", "machine") // then it is empty
	_, said := p.log("quick-machine-pod", "step-claim")
	if machine == "" || !strings.Contains(said, "has machine ") || strings.Contains(said, machine) {
		t.Errorf("the long run has machine %q; the quick one said %q", machine, said)
	}

	p.kubectl("patch", "pipelinerun", "long", "--type=merge", "-p", `{"spec":{"status":"Cancelled"}}`)
	p.run("PipelineRun", "long")
	if pods := p.pods("tekton.dev/pipelineTask=release,tekton.dev/pipelineRun=long"); len(pods) > 0 {
		t.Errorf("%s ran: the test proves nothing", pods[0].Name)
	}
	p.await(func(ctx context.Context) (string, error) {
		claim, err := p.Get(ctx, "outrigger.dev/MachineClaim", p.Name, claims[0].GetName())
		if err != nil {
			return "", err
		}
		if phase, _, _ := unstructured.NestedString(claim.Object, "status", "phase"); phase != "Released" { // then it is empty
			return "the claim is " + phase, nil
		}
		return "", nil
	})
}
