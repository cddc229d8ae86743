//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What a container declares is there on the machine: environment and volumes of each kind.
func TestEnvironmentAndVolumes(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {colour: blue, shape: round}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {password: "s3cr3t $(x)", token: t0k3n}
---
apiVersion: v1
kind: Pod
metadata:
  name: all
  labels: {team: red}
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: nowhere.example/none:1
    workingDir: /data/here
    env:
    - @MARK@
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: secret, key: password}}}
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: config, key: colour}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: LINES, value: "one\ntwo"}
    envFrom: [{configMapRef: {name: config}}, {secretRef: {name: secret}, prefix: S_}]
    command: [sh, -c]
    args:
    - |
      echo "env $PASSWORD $COLOUR $POD $shape $S_token"
      echo "$LINES"
      pwd
      cd /
      cat etc/conf/colour && echo
      cat secret/token && echo
      cat podinfo/labels && echo
      cat all/password && echo
      ls all/token && cat sub/shape && echo
      cat only/this/file && echo
      echo made > data/here/file
      ls -A /var/run/secrets/kubernetes.io/serviceaccount 2>/dev/null || echo "no token"
    volumeMounts:
    - {name: config, mountPath: /etc/conf}
    - {name: secret, mountPath: /secret, readOnly: true}
    - {name: info, mountPath: /podinfo}
    - {name: all, mountPath: /all}
    - {name: config, mountPath: /sub/shape, subPath: shape}
    - {name: config, mountPath: /only/this/file, subPath: colour}
    - {name: data, mountPath: /data}
  - name: linux
    image: @TOOLS@
    command: [sh, -c, 'until [ -s /data/here/file ]; do sleep 0.2; done; cat /data/here/file']
    volumeMounts: [{name: data, mountPath: /data}]
  initContainers:
  - name: init
    image: @TOOLS@
    command: [mkdir, -p, /data/here]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - {name: config, configMap: {name: config}}
  - {name: secret, secret: {secretName: secret}}
  - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: all, projected: {sources: [{secret: {name: secret}}, {configMap: {name: config}}]}}
  - {name: data, emptyDir: {}}
`)
	_ = p.pod("all", ended)
	stdout, stderr := p.log("all", "main")
	const want = `env s3cr3t $(x) blue all round t0k3n
one
two
/data/here
blue
t0k3n
`
	const rest = `
s3cr3t $(x)
all/token
round
blue
no token
`
	if len(stdout) < len(want)+len(rest) || stdout[:len(want)] != want || stdout[len(stdout)-len(rest):] != rest || stderr != "" {
		t.Errorf("it wrote\n%s\nand, on stderr, %q; want\n%s<labels>%s", stdout, stderr, want, rest)
	}
	p.logs("all", "linux", "made\n")
}

// The kubelet changes a mounted ConfigMap while the container runs.
func TestUpdatedConfigMap(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {value: one}
---
apiVersion: v1
kind: Pod
metadata:
  name: reader
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: nowhere.example/none:1
    env: [@MARK@]
    command: [sh, -c, 'cat /config/value; echo; until grep -q two /config/value; do sleep 0.5; done; cat /config/value; echo']
    volumeMounts: [{name: config, mountPath: /config}]
  volumes: [{name: config, configMap: {name: config}}]
`)
	p.pod("reader", func(pod *corev1.Pod) bool { return running(pod) && len(p.remote()) > 0 })
	p.kubectl("patch", "configmap", "config", "--type=merge", "-p", `{"data":{"value":"two"}}`)
	p.pod("reader", ended)
	p.logs("reader", "main", "one\ntwo\n")
}

// Two TaskRuns, one after the other, have one PersistentVolumeClaim as a workspace.
func TestClaimSharedByTwoTaskRuns(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shared}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: write
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  workspaces: [{name: w, persistentVolumeClaim: {claimName: shared}}]
  taskSpec:
    workspaces: [{name: w}]
    steps:
    - name: write
      image: nowhere.example/none:1
      env: [@MARK@]
      workingDir: $(workspaces.w.path)
      script: |
        mkdir -p a/b empty && printf 'echo ran\n' > a/b/run && chmod 750 a/b/run && ln -s b/run a/link && touch -d '2001-02-03 04:05:06 UTC' a/b/run
`)
	p.succeeds("TaskRun", "write")
	p.create(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: read
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  workspaces: [{name: w, persistentVolumeClaim: {claimName: shared}}]
  taskSpec:
    workspaces: [{name: w}]
    steps:
    - name: read
      image: nowhere.example/none:1
      env: [@MARK@]
      workingDir: $(workspaces.w.path)
      script: |
        stat -c '%n %a %F' a/b/run empty && readlink a/link && sh a/link && stat -c %Y a/b/run
`)
	p.succeeds("TaskRun", "read")
	p.logs("read-pod", "step-read", "a/b/run 750 regular file\nempty 755 directory\nb/run\nran\n981173106\n")
}

// A workspace of 30,000 files, made on Linux, changed on the machine, checked on Linux.
func TestThirtyThousandFiles(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: many
  annotations: {outrigger.dev/pool: @POOL@, outrigger.dev/containers: change}
spec:
  workspaces: [{name: w, emptyDir: {}}]
  taskSpec:
    workspaces: [{name: w}]
    results: [{name: before}, {name: changed}]
    steps:
    - name: make
      image: @TOOLS@
      workingDir: $(workspaces.w.path)
      script: |
        #!/bin/bash
        for d in {1..300}; do mkdir $d; for f in {1..100}; do echo "$d $f" > $d/$f; done; done
        find . -type f | sort | xargs cat | sha256sum | cut -c1-64 | tee /workspace/w/.sum
    - name: change
      image: nowhere.example/none:1
      env: [@MARK@]
      workingDir: $(workspaces.w.path)
      script: |
        #!/bin/bash
        [ ! -e /outrigger ] || exit 1
        mv .sum ../.sum 2>/dev/null; sum=$(find . -type f ! -name .sum | sort | xargs cat | sha256sum | cut -c1-64)
        printf %s $sum > $(results.before.path)
        rm -r 7 && echo new > 8/new && echo other > 9/9
    - name: check
      image: @TOOLS@
      workingDir: $(workspaces.w.path)
      script: |
        #!/bin/bash
        echo $(find . -type f ! -name .sum | wc -l) $(cat 8/new 9/9) $(ls -d 7 2>/dev/null)
`)
	run := p.succeeds("TaskRun", "many")
	made, _ := p.log("many-pod", "step-make")
	if got := results(t, run)["before"]; got+"\n" != made {
		t.Errorf("the machine saw files with the sum %s, want %s", got, made)
	}
	p.logs("many-pod", "step-check", "29901 new other\n")
}

// What does not fit into a volume stays on the machine, and can be fetched from there.
func TestResultsThatAreLeftAreFetched(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	p.create(`
apiVersion: v1
kind: Pod
metadata:
  name: large
  annotations: {outrigger.dev/pool: @POOL@}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: nowhere.example/none:1
    env: [@MARK@]
    command: [sh, -c, "echo small > /out/note; head -c 4000000 /dev/urandom > /out/large"]
    volumeMounts: [{name: out, mountPath: /out}]
  volumes: [{name: out, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]
`)
	pod := p.pod("large", ended)
	if pod.Status.Phase != corev1.PodFailed {
		t.Fatalf("the Pod is %s", pod.Status.Phase)
	}
	claim := pod.Labels["outrigger.dev/claim"]
	if _, log := p.log("large", "main"); strings.Count(log, "outrigger fetch --claim "+claim+" -n "+p.Name) != 1 {
		t.Errorf("the log does not say how to fetch the results:\n%s", log)
	}
	to := filepath.Join(t.TempDir(), "results")
	cmd := exec.CommandContext(t.Context(), newDoctor(p).program, "fetch", "--claim", claim, "-n", p.Name, "--to", to, "--kubeconfig", os.Getenv("KUBECONFIG"))
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("fetch: %v\n%s", err, out)
	}
	for name, size := range map[string]int64{"note": 6, "large": 4_000_000} {
		if fi, err := os.Stat(filepath.Join(to, "out", name)); err != nil || fi.Size() != size {
			t.Errorf("%s: %v, %v, want %d bytes", name, fi, err, size)
		}
	}
}
