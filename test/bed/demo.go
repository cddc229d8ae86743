//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/test/built"
)

const demoNamespace = "demo"

// demoPool has virtual machines of this computer. Pods reach their SSH ports on its address in the Pods' network.
const demoPool = `apiVersion: outrigger.dev/v1alpha1
kind: MachinePool
metadata: {name: vms}
spec: {os: linux, arch: amd64, warm: 1, max: 2, maxCreating: 1, provider: {qemu: {listen: ` + nodeIP + `}}}
`

// demoRun builds an interpreter from its sources on a virtual machine, and uses what was
// built in a container. The one line by which the first Task is on a machine is the annotation.
const demoRun = `apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {generateName: build-lua-, namespace: ` + demoNamespace + `}
spec:
  workspaces:
  - {name: sources, configMap: {name: lua}}
  - name: built
    volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}}
  pipelineSpec:
    workspaces: [{name: sources}, {name: built}]
    tasks:
    - name: build
      workspaces: [{name: sources}, {name: built}]
      taskSpec:
        metadata: {annotations: {outrigger.dev/pool: vms}}
        workspaces: [{name: sources}, {name: built}]
        results: [{name: kernel}]
        steps:
        - name: compile
          image: not-used-on-a-machine:1
          workingDir: $(workspaces.built.path)
          script: |
            uname -a
            uname -r | tr -d '\n' > $(results.kernel.path)
            tar -xf $(workspaces.sources.path)/lua.tar
            cd lua && make -s -j2 linux MYCFLAGS=-O0 && ls -l src/lua # an emulated processor is slow
        - name: test
          image: not-used-on-a-machine:1
          workingDir: $(workspaces.built.path)/lua
          script: src/lua -e 'print(_VERSION .. " was built here and runs here")'
    - name: use
      runAfter: [build]
      params: [{name: kernel, value: $(tasks.build.results.kernel)}]
      workspaces: [{name: built}]
      taskSpec:
        params: [{name: kernel}]
        workspaces: [{name: built}]
        steps:
        - name: run
          image: ` + toolsImage + `
          script: |
            uname -a
            $(workspaces.built.path)/lua/src/lua -e 'print(_VERSION .. " was built on a machine with Linux $(params.kernel) and runs in a container")'
`

// demo runs a Pipeline one Task of which is on a virtual machine of QEMU. The
// controller must be where QEMU is, so it runs as a process of this computer then,
// as the service account that it has in the cluster.
func demo(ctx context.Context, b *bed) error {
	var err error
	if b.kube, err = built.Kube(ctx, b.out); err != nil {
		return err
	}
	state := filepath.Join(b.cache, "demo")
	if err := b.demoImage(ctx, state); err != nil {
		return err
	}
	if err := b.controllerOutside(ctx, state); err != nil {
		return err
	}
	if err := b.apply(ctx, demoPool); err != nil {
		return err
	}
	if err := b.demoSources(ctx); err != nil {
		return err
	}
	b.say("the pool makes a virtual machine")
	if _, err := b.kubectl(ctx, "wait", "machinepool/vms", "--for=jsonpath={.status.idle}=1", "--timeout=600s"); err != nil {
		pool, _ := b.kubectl(ctx, "describe", "machinepool", "vms") // the first error is told
		return fmt.Errorf("%w\n%s", err, pool)
	}
	b.say("a virtual machine is idle and prepared")
	created, err := feed(ctx, demoRun, filepath.Join(b.kube, "kubectl"), "--kubeconfig", b.kubeconfig("admin"), "create", "-f", "-", "-o", "name")
	if err != nil {
		return err
	}
	return b.demoFollow(ctx, strings.TrimSpace(created))
}

// demoImage builds the image of the virtual machines, once.
func (b *bed) demoImage(ctx context.Context, state string) error {
	outrigger := filepath.Join(b.checkout, "bin", "outrigger")
	env := []string{"env", "OUTRIGGER_STATE_DIR=" + state, outrigger, "image"}
	list, err := command(ctx, env[0], append(env[1:], "list", "--on", "qemu")...)
	if err == nil && strings.Contains(list, "debian") {
		return nil
	}
	b.say("building the image of virtual machines, minutes, once")
	_, err = command(ctx, env[0], append(env[1:], "build", "--on", "qemu")...)
	return err
}

// controllerOutside stops the controller's Pods and starts the controller here.
func (b *bed) controllerOutside(ctx context.Context, state string) error {
	if _, err := b.kubectl(ctx, "-n", "outrigger-system", "scale", "deployment/outrigger-controller", "--replicas=0"); err != nil {
		return err
	}
	relay, err := b.kubectl(ctx, "-n", "outrigger-system", "get", "deployment/outrigger-controller",
		"-o", `jsonpath={.spec.template.metadata.annotations.outrigger\.dev/relay-image}`)
	if err != nil {
		return err
	}
	config, err := b.serviceAccount(ctx)
	if err != nil {
		return err
	}
	const webhook = nodeIP + ":9443"
	if err := b.start(daemon{name: "controller", argv: []string{
		filepath.Join(b.checkout, "bin", "linux-amd64", "controller"), "--kubeconfig", config, "--leader-elect",
		"--relay-image", relay, "--webhook-address", webhook, "--webhook-url", "https://" + webhook, "--state-dir", state,
		"--agents", filepath.Join(b.checkout, "bin", "agents"), "--metrics-bind-address", "127.0.0.1:18080", "--health-probe-bind-address", "127.0.0.1:18081",
	}}); err != nil {
		return err
	}
	if err := b.await(ctx, "controller", 2*time.Minute, []string{"controller"}, func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", webhook)
		if err != nil {
			return err
		}
		return conn.Close()
	}); err != nil {
		return err
	}
	b.say("the controller is a process of this computer")
	return nil
}

// serviceAccount writes a kubeconfig with a token of the controller's own account, for a day.
func (b *bed) serviceAccount(ctx context.Context) (file string, err error) {
	file = b.kubeconfig("outrigger-controller")
	if info, err := os.Stat(file); err == nil && time.Since(info.ModTime()) < 12*time.Hour {
		return file, nil
	}
	token, err := b.kubectl(ctx, "-n", "outrigger-system", "create", "token", "outrigger-controller", "--duration=24h")
	if err != nil {
		return "", err
	}
	ca, err := os.ReadFile(b.in("pki", "ca.crt"))
	if err != nil {
		return "", err
	}
	return file, write(file, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: bed, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: controller, user: {token: %s}}]
contexts: [{name: bed, context: {cluster: bed, user: controller}}]
current-context: bed
`, apiURL, encode(ca), strings.TrimSpace(token)), 0o600)
}

// demoSources puts the sources of Lua into a ConfigMap.
func (b *bed) demoSources(ctx context.Context) error {
	client, err := b.client()
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().ConfigMaps(demoNamespace).Get(ctx, "lua", metav1.GetOptions{}); err == nil || !apierrors.IsNotFound(err) {
		return err
	}
	scratch, err := os.MkdirTemp("", "outrigger-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if _, err := command(ctx, filepath.Join(b.checkout, "tools", "debsource"), "lua5.4", filepath.Join(scratch, "lua")); err != nil {
		return err
	}
	if _, err := command(ctx, "tar", "-czf", filepath.Join(scratch, "lua.tar"), "-C", scratch, "--owner=0", "--group=0", "--exclude=doc", "lua"); err != nil {
		return err
	}
	if err := b.apply(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+demoNamespace+"}}"); err != nil {
		return err
	}
	_, err = b.kubectl(ctx, "-n", demoNamespace, "create", "configmap", "lua", "--from-file="+filepath.Join(scratch, "lua.tar"))
	return err
}

// demoFollow shows the run as people look at one.
func (b *bed) demoFollow(ctx context.Context, run string) error {
	if _, err := b.kubectl(ctx, "-n", demoNamespace, "wait", run, "--for=jsonpath={.status.completionTime}", "--timeout=1800s"); err != nil {
		err = errors.Join(err, b.show(ctx, "get", "taskruns,pods,machineclaims"), b.show(ctx, "get", "events"))
		return err
	}
	name := run[strings.LastIndexByte(run, '/')+1:]
	for _, args := range [][]string{
		{"logs", "-l", "tekton.dev/pipelineRun=" + name + ",tekton.dev/pipelineTask=build", "-c", "step-compile", "--tail=-1"},
		{"logs", "-l", "tekton.dev/pipelineRun=" + name + ",tekton.dev/pipelineTask=build", "-c", "step-test", "--tail=-1"},
		{"logs", "-l", "tekton.dev/pipelineRun=" + name + ",tekton.dev/pipelineTask=use", "--tail=-1"},
		{"get", run},
		{"get", "taskruns", "-l", "tekton.dev/pipelineRun=" + name},
		{"get", "machineclaims"},
		{"get", "machinepools,machines"},
	} {
		if err := b.show(ctx, args...); err != nil {
			return err
		}
	}
	fmt.Printf("\nLook around:  eval \"$(bin/bed env)\"; kubectl -n %s get all,machineclaims\nThe end:      make demo-down\n", demoNamespace)
	status, err := b.kubectl(ctx, "-n", demoNamespace, "get", run, "-o", `jsonpath={.status.conditions[?(@.type=="Succeeded")].status} {.status.conditions[?(@.type=="Succeeded")].message}`)
	if err == nil && !strings.HasPrefix(status, "True") {
		err = fmt.Errorf("%s: %s", run, status)
	}
	return err
}

// show prints a command of kubectl and what it answers, as a person would see it.
func (b *bed) show(ctx context.Context, args ...string) error {
	args = append([]string{"-n", demoNamespace}, args...)
	fmt.Printf("\n$ kubectl %s\n", strings.Join(args, " "))
	out, err := b.kubectl(ctx, args...)
	fmt.Print(out)
	return err
}

// demoDown deletes what demo made. The machines go before the controller that can delete them.
func demoDown(ctx context.Context, b *bed) error {
	var err error
	if b.kube, err = built.Kube(ctx, b.out); err != nil {
		return err
	}
	if b.find("kube-apiserver") == 0 {
		return nil
	}
	if b.find("controller") != 0 {
		if _, err := b.kubectl(ctx, "delete", "namespace", demoNamespace, "--ignore-not-found", "--timeout=120s"); err != nil {
			return err
		}
		if _, err := b.kubectl(ctx, "delete", "machinepool", "vms", "--ignore-not-found", "--timeout=120s"); err != nil {
			return err
		}
		if err := b.stop(10*time.Second, "controller"); err != nil {
			return err
		}
	}
	if _, err := b.kubectl(ctx, "-n", "outrigger-system", "scale", "deployment/outrigger-controller", "--replicas=2"); err != nil {
		return err
	}
	b.say("the demo is gone; the controller is in the cluster again")
	return nil
}
