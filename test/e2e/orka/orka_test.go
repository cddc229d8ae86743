//go:build e2e

package orka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/test/built"
	"outrigger.dev/outrigger/test/e2e/user"
	"outrigger.dev/outrigger/test/program"
	"outrigger.dev/outrigger/test/sshd"
)

const (
	// tools is an image of the test bed with a shell, coreutils and curl.
	tools = "registry.local/tools:1"
	// limit bounds every wait; a passing test never sees it.
	limit = 4 * time.Minute
	// node is this computer as Pods see it.
	node = "10.244.0.1"
	// system is where Outrigger is.
	system = "outrigger-system"
)

var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "outrigger-e2e-orka-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := program.Build(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		bin = filepath.Join(dir, "outrigger")
		return m.Run()
	}())
}

func variable(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// A place is a test's namespace, and an Orka.
type place struct {
	*user.Namespace
	t      *testing.T
	dir    string
	fill   map[string]string // @KEY@ in YAML
	client *http.Client      // in the Orka's network
	url    string
	token  string
}

// begin makes a namespace; what is in it goes with the test.
func begin(t *testing.T, name string) *place {
	t.Helper()
	c, err := user.Connect(os.Getenv("KUBECONFIG"), variable("OUTRIGGER_E2E_KUBECTL", "kubectl"))
	if err != nil {
		t.Fatalf("KUBECONFIG: %v", err)
	}
	n, err := c.Namespace(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &place{Namespace: n, t: t, dir: t.TempDir(), fill: map[string]string{"NAMESPACE": name, "TOOLS": tools, "POOL": name}}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			p.tell(ctx)
		}
		if err := p.Delete(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// tell writes down what there is to see of a test that failed.
func (p *place) tell(ctx context.Context) {
	for _, args := range [][]string{
		{"-n", p.Name, "get", "pods,taskruns,pipelineruns,machineclaims", "-o", "wide"},
		{"get", "machines,machinepools", "-o", "wide"},
		{"-n", p.Name, "get", "events", "--sort-by=.lastTimestamp"},
		{"-n", system, "logs", "deployment/outrigger-controller", "--tail=40"},
	} {
		out, err := p.Command(ctx, args...).CombinedOutput()
		p.t.Logf("kubectl %s (%v)\n%s", strings.Join(args, " "), err, out)
	}
}

// process is one in a network, nil for this computer's own.
func (p *place) process(in *sshd.Network, args ...string) *exec.Cmd {
	if in != nil {
		args = append([]string{"nsenter", "--net=" + in.Path()}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "TMPDIR="+p.dir)
	return cmd
}

// start starts one that is asked to end when what was begun after it is cleaned up; its words
// are told if the test fails.
func (p *place) start(cmd *exec.Cmd) {
	p.t.Helper()
	log, err := os.CreateTemp(p.dir, "log-")
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have been killed
		kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		if b, err := os.ReadFile(log.Name()); p.t.Failed() {
			p.t.Logf("%s: %v\n%s%v", strings.Join(cmd.Args, " "), cmd.ProcessState, b, err)
		}
		log.Close()
	})
}

// orka starts a cluster with one node that listens at host, in a network.
func (p *place) orka(in *sshd.Network, host string) {
	p.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Close()
	cmd := p.process(in, bin, "--output", "json", "dev", "orka", "--listen", host+":8080", "--kube-listen", host+":6444", "--speed", "600", "--role", "orka-dev", "--password", "admin")
	cmd.Stdout = w
	p.start(cmd)
	w.Close()
	var shown struct{ Endpoint, Token string }
	if err := json.NewDecoder(r).Decode(&shown); err != nil {
		p.t.Fatal(err)
	}
	p.url, p.token = shown.Endpoint, shown.Token
	p.fill["ENDPOINT"], p.fill["TOKEN"] = shown.Endpoint, shown.Token
	p.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, address string) (conn net.Conn, err error) {
		dial := func() { conn, err = net.DialTimeout(network, address, time.Second) }
		if in == nil {
			dial()
		} else {
			in.Do(dial)
		}
		return conn, err
	}}}
}

// vms are those that the cluster has, or why it does not say.
func (p *place) vms(ctx context.Context) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/namespaces/orka-default/vms", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list struct{ Items []struct{ Name string } }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	var names []string
	for _, vm := range list.Items {
		names = append(names, vm.Name)
	}
	return names, nil
}

// empty waits until no VM is left.
func (p *place) empty() {
	p.t.Helper()
	p.await(func(ctx context.Context) (string, error) {
		names, err := p.vms(ctx)
		if len(names) > 0 {
			return "VMs are left: " + strings.Join(names, ", "), nil
		}
		return "", err
	})
}

// pool makes one of the cluster's VMs, with nothing but endpoint and token, and reach if it needs that.
func (p *place) pool(reach string) {
	p.t.Helper()
	p.fill["REACH"] = reach
	p.create(`
apiVersion: v1
kind: Secret
metadata: {name: "@POOL@-token", namespace: ` + system + `}
stringData: {token: "@TOKEN@"}
`)
	p.create(`
apiVersion: outrigger.dev/v1alpha1
kind: MachinePool
metadata: {name: "@POOL@"}
spec:
  os: linux
  arch: amd64
  warm: 0
  max: 1
  @REACH@
  provider:
    orka: {endpoint: "@ENDPOINT@", tokenSecretName: "@POOL@-token"}
`)
	p.t.Cleanup(func() { // before its namespace is, while the cluster is still there
		ctx := context.WithoutCancel(p.t.Context())
		for _, args := range [][]string{
			{"-n", p.Name, "delete", "taskruns,pipelineruns,machineclaims", "--all", "--wait=false"},
			{"delete", "machinepool", p.Name, "--wait=false"}, {"-n", system, "delete", "secret", p.Name + "-token", "--wait=false"},
		} {
			if out, err := p.Command(ctx, append(args, "--ignore-not-found")...).CombinedOutput(); err != nil {
				p.t.Errorf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		if err := p.poolGone(ctx); err != nil {
			p.t.Error(err)
		}
	})
}

// poolGone waits until the pool has taken its VMs along.
func (p *place) poolGone(ctx context.Context) error {
	return user.Await(ctx, limit, func(ctx context.Context) (string, error) {
		_, err := p.Get(ctx, "outrigger.dev/MachinePool", "", p.Name)
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		return "the pool is not gone", err
	})
}

// gone ends the pool and waits until it has taken its VMs along.
func (p *place) gone() {
	p.t.Helper()
	p.kubectl("delete", "machinepool", p.Name, "--wait=false")
	if err := p.poolGone(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.empty()
}

// create creates what the YAML says, with @KEY@ filled in. What says no namespace is the test's.
func (p *place) create(yaml string) {
	p.t.Helper()
	for key, value := range p.fill {
		yaml = strings.ReplaceAll(yaml, "@"+key+"@", value)
	}
	objects, err := user.Parse([]byte(yaml))
	if err != nil {
		p.t.Fatalf("%v\n%s", err, yaml)
	}
	for _, o := range objects {
		to := p.Namespace
		if ns := o.GetNamespace(); ns != "" {
			to = &user.Namespace{Cluster: p.Cluster, Name: ns}
		}
		if err := to.Create(p.t.Context(), o); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *place) await(ask func(ctx context.Context) (open string, err error)) {
	p.t.Helper()
	if err := user.Await(p.t.Context(), limit, ask); err != nil {
		p.t.Fatal(err)
	}
}

// kubectl runs kubectl in the namespace.
func (p *place) kubectl(args ...string) string {
	p.t.Helper()
	return p.cluster(append([]string{"-n", p.Name}, args...)...)
}

// cluster runs kubectl.
func (p *place) cluster(args ...string) string {
	p.t.Helper()
	out, err := p.Command(p.t.Context(), args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// run waits until all runs of the namespace are over and returns one.
func (p *place) run(kind, name string) *unstructured.Unstructured {
	p.t.Helper()
	if err := p.Finish(p.t.Context(), limit); err != nil {
		p.t.Fatal(err)
	}
	run, err := p.Get(p.t.Context(), "tekton.dev/"+kind, p.Name, name)
	if err != nil {
		p.t.Fatal(err)
	}
	return run
}

// succeeds waits for a run that must succeed, and returns its results.
func (p *place) succeeds(kind, name string) map[string]string {
	p.t.Helper()
	run := p.run(kind, name)
	if c := user.Succeeded(*run); c.Status != metav1.ConditionTrue {
		p.t.Fatalf("%s %s: %s: %s\n%s", kind, name, c.Reason, c.Message, p.logs())
	}
	list, _, _ := unstructured.NestedSlice(run.Object, "status", "results") // then it has none
	found := map[string]string{}
	for _, r := range list {
		if m, ok := r.(map[string]any); ok {
			found[fmt.Sprint(m["name"])] = fmt.Sprint(m["value"])
		}
	}
	return found
}

// logs is what all Pods of the namespace wrote.
func (p *place) logs() string {
	out, err := p.Command(p.t.Context(), "-n", p.Name, "logs", "--selector=app.kubernetes.io/managed-by=tekton-pipelines", "--all-containers", "--prefix", "--tail=-1").CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// deployed is what a user applies of deploy/tekton.
func deployed(t *testing.T) string {
	t.Helper()
	root, err := built.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range []string{"rbac.yaml", "outrigger-run.yaml", "outrigger-claim.yaml", "outrigger-gc.yaml", "pipeline.yaml"} {
		b, err := os.ReadFile(filepath.Join(root, "deploy", "tekton", name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return strings.Join(all, "\n---\n")
}

// annotated is a TaskRun whose steps run on a VM: with a workspace, a parameter and a result.
const annotated = `
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: annotated
  annotations: {outrigger.dev/pool: "@POOL@"}
spec:
  workspaces: [{name: ws, emptyDir: {}}]
  params: [{name: greeting, value: hello}]
  taskSpec:
    workspaces: [{name: ws}]
    params: [{name: greeting}]
    results: [{name: where}]
    steps:
    - name: first
      image: nowhere.example/macos:16
      script: echo $(params.greeting) > $(workspaces.ws.path)/file
    - name: second
      image: nowhere.example/macos:16
      workingDir: $(workspaces.ws.path)
      script: |
        cat file
        pwd -P > $(results.where.path)
`

// isVM wants a path that is in a VM of the cluster, whose folder is the test's.
func (p *place) isVM(where string) {
	p.t.Helper()
	if !strings.HasPrefix(strings.TrimSpace(where), p.dir+"/") {
		p.t.Errorf("it ran in %s, want a VM of %s", where, p.dir)
	}
}

// task is the one that takes its VM itself: no controller has a part in it. via is the way there, and
// files are what it needs, further keys of the Secret.
func (p *place) task(name, via, files string) {
	p.t.Helper()
	p.fill["NAME"], p.fill["VIA"], p.fill["FILES"] = name, via, files
	p.create(`
apiVersion: v1
kind: Secret
metadata: {name: "@NAME@"}
stringData:
  token: "@TOKEN@"
  @FILES@
  config.yaml: |
    providers:
      orka:
        @VIA@
        orka: {endpoint: "@ENDPOINT@", tokenFile: /outrigger/config/token}
---
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: "@NAME@"}
spec:
  taskRef: {name: outrigger-run}
  workspaces:
  - {name: source, emptyDir: {}}
  - {name: config, secret: {secretName: "@NAME@"}}
  params:
  - {name: provider, value: orka}
  - {name: workdir, value: /workspace/source}
  - {name: script, value: 'echo there > file; pwd -P > "$RESULT"'}
`)
	p.isVM(p.succeeds("TaskRun", name)["result"])
	p.empty()
}

// An annotated TaskRun, the Task that takes its machine itself, and Tasks that share one, on an Orka
// cluster of which nothing is known but endpoint and token.
func TestOrka(t *testing.T) {
	p := begin(t, "e2e-orka")
	p.orka(nil, node)
	p.create(deployed(t))
	p.task("outrigger", "", "")
	p.kubectl("create", "job", "gc", "--from=cronjob/outrigger-gc") // there is nothing for it to do
	p.await(func(ctx context.Context) (string, error) {
		out, err := p.Command(ctx, "-n", p.Name, "get", "job", "gc", "-o", "jsonpath={.status.conditions[?(@.status=='True')].type}").Output()
		switch {
		case err != nil || strings.Contains(string(out), "Complete"):
			return "", err
		case strings.Contains(string(out), "Failed"):
			return "", errors.New("the sweep failed: " + p.kubectl("logs", "job/gc"))
		}
		return "the sweep is not over", nil
	})

	p.pool("")
	p.create(annotated)
	p.isVM(p.succeeds("TaskRun", "annotated")["where"])
	if logs := p.logs(); !strings.Contains(logs, "hello") {
		t.Errorf("the steps wrote\n%s", logs)
	}
	p.empty()

	p.create(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: source}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: shared}
spec:
  pipelineRef: {name: outrigger-example}
  taskRunTemplate: {serviceAccountName: outrigger-run}
  params: [{name: pool, value: "@POOL@"}]
  workspaces: [{name: source, persistentVolumeClaim: {claimName: source}}]
`)
	p.succeeds("PipelineRun", "shared")
	if logs := p.logs(); !strings.Contains(logs, "Linux x86_64") || !strings.Contains(logs, "warm") {
		t.Errorf("the second Task found another machine than the first:\n%s", logs)
	}
	p.empty()
	p.gone()
}
