//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outrigger.dev/outrigger/test/built"
)

// deployed fills in what a user applies of deploy/tekton.
func deployed(t *testing.T) string {
	t.Helper()
	root, err := built.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range []string{"rbac.yaml", "outrigger-run.yaml"} {
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
