//go:build e2e

package orka

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/test/built"
	"outrigger.dev/outrigger/test/sshd"
)

// The addresses of the private network and of the cable that leads out of it. Pods, and this
// computer, have no way to inside.
const (
	inside = "10.77.0.4"
	gate   = "10.246.7.1" // this computer's end of the cable, where outposts find the hub
	edge   = "10.246.7.2"
	cable  = "outrigger-cable"
	hubURL = "https://outrigger-hub." + system + ".svc:8443" // for Pods
)

// private makes the network.
func (p *place) private() *sshd.Network {
	p.t.Helper()
	n := sshd.NewNetwork(p.t)
	_ = exec.Command("ip", "link", "del", cable).Run() // of a test that was killed
	p.must(nil, "ip", "link", "add", cable, "type", "veth", "peer", "name", cable, "netns", n.Path())
	p.t.Cleanup(func() { _ = exec.Command("ip", "link", "del", cable).Run() }) // as a rule it has gone with the network
	for _, c := range []struct {
		in   *sshd.Network
		args string
	}{
		{nil, "addr add " + gate + "/30 dev " + cable},
		{nil, "link set " + cable + " up"},
		{n, "addr add " + edge + "/30 dev " + cable},
		{n, "addr add " + inside + "/32 dev lo"},
		{n, "link set " + cable + " up"},
	} {
		p.must(c.in, append([]string{"ip"}, strings.Fields(c.args)...)...)
	}
	return n
}

func (p *place) must(in *sshd.Network, args ...string) string {
	p.t.Helper()
	cmd := p.process(in, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// hub gives the cluster one, as docs/howto/reach.md says, and the controller the way to it. keys is the
// folder with what opens it.
func (p *place) hub() (keys string) {
	p.t.Helper()
	keys = filepath.Join(p.dir, "keys")
	p.must(nil, bin, "outpost", "init", keys, "--name", gate, "--name", "outrigger-hub."+system+".svc")
	token := p.must(nil, bin, "outpost", "token", "orka/east", "--dir", keys)
	p.write(filepath.Join(keys, "east.token"), token+"\n")
	p.write(filepath.Join(keys, "me.pass"), p.must(nil, bin, "outpost", "pass", "orka", "--key", filepath.Join(keys, "pass.key"), "--for", "the Task", "--to", inside+":*")+"\n")

	root, err := built.Checkout()
	if err != nil {
		p.t.Fatal(err)
	}
	plain := filepath.Join(filepath.Dir(filepath.Dir(p.Kubeconfig)), "outrigger") // what bin/bed has applied
	with := filepath.Join(p.dir, "with-hub")
	relative := func(to string) string {
		at, err := filepath.Rel(with, to)
		if err != nil {
			p.t.Fatal(err)
		}
		return at
	}
	p.write(filepath.Join(with, "kustomization.yaml"), fmt.Sprintf("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [%q]\ncomponents: [%q]\n",
		relative(plain), relative(filepath.Join(root, "deploy", "kustomize", "hub"))))
	p.t.Cleanup(func() {
		ctx := context.WithoutCancel(p.t.Context())
		if p.t.Failed() {
			out, err := p.Command(ctx, "-n", system, "logs", "deployment/outrigger-hub", "--tail=60").CombinedOutput()
			p.t.Logf("the hub (%v)\n%s", err, out)
		}
		for _, args := range [][]string{
			{"apply", "--server-side", "--force-conflicts", "-k", plain},
			{"-n", system, "delete", "--ignore-not-found", "deployment/outrigger-hub", "service/outrigger-hub", "service/outrigger-hub-public", "secret/outrigger-hub", "secret/outrigger-hub-client"},
			{"-n", system, "rollout", "status", "deployment/outrigger-controller", "--timeout=180s"},
		} {
			if out, err := p.Command(ctx, args...).CombinedOutput(); err != nil {
				p.t.Errorf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
	})
	p.cluster("-n", system, "delete", "--ignore-not-found", "secret/outrigger-hub", "secret/outrigger-hub-client")
	p.cluster("-n", system, "create", "secret", "generic", "outrigger-hub", "--from-file="+filepath.Join(keys, "hub"))
	p.cluster("-n", system, "create", "secret", "generic", "outrigger-hub-client",
		"--from-file=pass.key="+filepath.Join(keys, "pass.key"), "--from-file=ca.crt="+filepath.Join(keys, "hub", "tls.crt"))
	p.cluster("apply", "--server-side", "--force-conflicts", "-k", with)
	for _, name := range []string{"hub", "controller"} {
		p.cluster("-n", system, "rollout", "status", "deployment/outrigger-"+name, "--timeout=180s")
	}
	p.balance(p.cluster("-n", system, "get", "service", "outrigger-hub", "-o", "jsonpath={.spec.clusterIP}") + ":8443")
	return keys
}

func (p *place) write(name, content string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// balance is the load balancer that the bed does not have: it takes connections of outposts to the hub.
func (p *place) balance(to string) {
	p.t.Helper()
	ln, err := net.Listen("tcp", gate+":443")
	if err != nil {
		p.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				far, err := net.DialTimeout("tcp", to, 5*time.Second)
				if err != nil {
					return // the outpost tries again
				}
				defer far.Close()
				var both sync.WaitGroup
				both.Go(func() { _, _ = io.Copy(far, c); far.Close() })
				both.Go(func() { _, _ = io.Copy(c, far); c.Close() })
				both.Wait()
			})
		}
	})
	p.t.Cleanup(func() { // the outposts, which were started later, have ended
		ln.Close()
		wg.Wait()
	})
}

// outpost starts one, and waits until the hub has it.
func (p *place) outpost(in *sshd.Network, keys string) *exec.Cmd {
	p.t.Helper()
	cmd := p.process(in, bin, "outpost", "connect", "https://"+gate, "-v", "--ca-file", filepath.Join(keys, "hub", "tls.crt"), "--token-file", filepath.Join(keys, "east.token"),
		"--allow", inside+":8080,6444,8822-9122")
	before := p.connected()
	p.start(cmd)
	p.await(func(context.Context) (string, error) {
		if p.connected() > before {
			return "", nil
		}
		return "the outpost is not connected", nil
	})
	return cmd
}

// connected counts how often the hub has seen an outpost come.
func (p *place) connected() int {
	out, err := p.Command(p.t.Context(), "-n", system, "logs", "deployment/outrigger-hub").Output()
	if err != nil {
		return 0
	}
	return strings.Count(string(out), `msg="outpost connected"`)
}

// down waits until the pool says that its cluster does not answer.
func (p *place) down() {
	p.t.Helper()
	p.await(func(ctx context.Context) (string, error) {
		out, err := p.Command(ctx, "get", "machinepool", p.Name, "-o", `jsonpath={.status.conditions[?(@.type=="ProviderHealthy")]}`).Output()
		if err != nil {
			return "", err
		}
		var c metav1.Condition
		if err := json.Unmarshal(out, &c); err != nil || c.Status != metav1.ConditionFalse {
			return "the pool is content: " + string(out), nil
		}
		if c.Reason != "ProviderDown" || !strings.Contains(c.Message, inside) {
			return "", fmt.Errorf("the pool says %s", out)
		}
		return "", nil
	})
}

// A pool whose cluster is in a network that Pods cannot reach: it says so, and a TaskRun waits. Told of the
// network behind the hub it is served. The outpost is killed while steps run, and no line is lost.
func TestOrkaBehindAnOutpost(t *testing.T) {
	p := begin(t, "e2e-orka-outpost")
	private := p.private()
	p.orka(private, inside)
	keys := p.hub()
	east := p.outpost(private, keys)

	p.create(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: direct}
spec:
  taskSpec:
    results: [{name: code}]
    steps:
    - {name: main, image: "@TOOLS@", script: 'code=0; curl -s -m 5 @ENDPOINT@/api/v1/cluster-info || code=$?; printf %s $code > $(results.code.path)'}
`)
	if code := p.succeeds("TaskRun", "direct")["code"]; code != "28" && code != "7" {
		t.Fatalf("curl in a Pod ended with %s: the test proves nothing", code)
	}

	p.pool("")
	p.create(annotated)
	p.down()
	p.kubectl("patch", "machinepool", p.Name, "--type=merge", "-p", `{"spec":{"reach":{"network":"orka"}}}`)
	p.isVM(p.succeeds("TaskRun", "annotated")["where"])
	p.empty()

	p.create(`
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: cut
  annotations: {outrigger.dev/pool: "@POOL@"}
spec:
  taskSpec:
    steps:
    - name: main
      image: nowhere.example/macos:16
      script: i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); sleep 0.1; done
`)
	p.await(func(ctx context.Context) (string, error) {
		if out, err := p.Log(ctx, "cut-pod", "step-main"); err != nil || !strings.Contains(out, "line 20\n") {
			return "the step has not got far", nil
		}
		return "", nil
	})
	if err := east.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.outpost(private, keys)
	p.succeeds("TaskRun", "cut")
	pod, err := p.Typed.CoreV1().Pods(p.Name).Get(t.Context(), "cut-pod", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range 100 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if out, _, err := p.Streams(pod, "step-main"); out != want.String() {
		t.Errorf("%v: the step's log is %q", err, out)
	}
	p.empty()
	p.gone()

	p.create(deployed(t))
	ca, err := os.ReadFile(filepath.Join(keys, "hub", "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pass, err := os.ReadFile(filepath.Join(keys, "me.pass"))
	if err != nil {
		t.Fatal(err)
	}
	p.task("by-itself", fmt.Sprintf("via: [{hub: %q, network: orka, passwordFile: /outrigger/config/pass, caFile: /outrigger/config/ca.crt}]", hubURL),
		fmt.Sprintf("pass: %q\n  ca.crt: %q", pass, ca))
}
