package devorka_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/test/built"
)

// A kubectl is the program itself, with a kubeconfig made of what cluster-info says.
type kubectl struct {
	c      *cluster
	binary string
	config string
	home   string
}

// tool makes a kubectl for a token of the cluster.
func (c *cluster) tool(token string) *kubectl {
	c.t.Helper()
	programs, err := built.Kube(c.t.Context(), os.Stderr)
	if err != nil {
		c.t.Fatal(err)
	}
	dir := c.t.TempDir()
	k := &kubectl{c: c, binary: filepath.Join(programs, "kubectl"), config: filepath.Join(dir, "kubeconfig"), home: dir}
	info := ok[struct{ APIEndpoint, CertData string }](c, http.MethodGet, "/api/v1/cluster-info", nil)
	config := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "orka",
		"contexts": [{"name": "orka", "context": {"cluster": "orka", "user": "me", "namespace": "orka-default"}}],
		"clusters": [{"name": "orka", "cluster": {"server": %q, "certificate-authority-data": %q}}],
		"users": [{"name": "me", "user": {"token": %q}}]}`,
		info.APIEndpoint, base64.StdEncoding.EncodeToString([]byte(info.CertData)), token)
	if err := os.WriteFile(k.config, []byte(config), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return k
}

func (k *kubectl) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(k.c.t.Context(), k.binary, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.config, "HOME="+k.home)
	return cmd
}

// run wants success.
func (k *kubectl) run(stdin string, args ...string) string {
	k.c.t.Helper()
	cmd := k.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		k.c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fails wants failure and returns what kubectl says.
func (k *kubectl) fails(stdin string, args ...string) string {
	k.c.t.Helper()
	cmd := k.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err == nil {
		k.c.t.Errorf("kubectl %s: succeeded\n%s", strings.Join(args, " "), out)
	}
	return string(out)
}

// basicVM is MacStadium's own example of one.
const basicVM = `
apiVersion: orka.macstadium.com/v1
kind: VirtualMachineInstance
metadata:
  name: my-orka-vm
spec:
  image: ghcr.io/macstadium/orka-images/sonoma:latest
`

// complexVM is the other.
const complexVM = `
apiVersion: orka.macstadium.com/v1
kind: VirtualMachineInstance
metadata:
  name: my-advanced-orka-vm
  labels: {team: a}
spec:
  cpu: 4
  gpuPassthrough: false
  image: sonoma-90gb-orka3-arm
  netBoost: true
  scheduler: default-scheduler
  vncConsole: true
  tag: my-tag
  tagRequired: false
`

func TestKubectl(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 2})
	k := c.tool(c.token)

	watch := k.command("get", "vm", "--watch", "--output-watch-events", "-o", "custom-columns=E:.type,N:.object.metadata.name,P:.object.status.phase", "--no-headers")
	stream, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Process.Kill(); _ = watch.Wait() }()
	lines := bufio.NewScanner(stream)
	seen := map[string]bool{}
	until := func(want string) {
		t.Helper()
		for !seen[want] {
			if !lines.Scan() {
				t.Fatalf("the watch ended without %s: %v", want, seen)
			}
			seen[strings.Join(strings.Fields(lines.Text()), " ")] = true
		}
	}

	c.arm(`{"kind": "no-capacity"}`) // until the watch has seen it
	if out := k.run(basicVM, "create", "-f", "-"); !strings.Contains(out, "virtualmachineinstance.orka.macstadium.com/my-orka-vm created") {
		t.Errorf("create: %s", out)
	}
	until("ADDED my-orka-vm Pending")
	c.disarm()
	k.run("", "wait", "vm/my-orka-vm", "--for=jsonpath={.status.phase}=Running", "--timeout=30s")
	k.run(complexVM, "apply", "-f", "-")
	k.run("", "wait", "vms/my-advanced-orka-vm", "--for=jsonpath={.status.phase}=Running", "--timeout=30s")
	if out := k.run(complexVM, "apply", "-f", "-"); !strings.Contains(out, "unchanged") {
		t.Errorf("second apply: %s", out)
	}

	table := k.run("", "get", "virtualmachineinstances")
	for _, word := range []string{"NAME", "IP", "SSH", "SCREENSHARE", "STATUS", "my-orka-vm", "my-advanced-orka-vm", "Running"} {
		if !strings.Contains(table, word) {
			t.Errorf("get lacks %s:\n%s", word, table)
		}
	}
	if out := k.run("", "get", "vm", "-l", "team=a", "-o", "name"); strings.TrimSpace(out) != "virtualmachineinstance.orka.macstadium.com/my-advanced-orka-vm" {
		t.Errorf("selected: %s", out)
	}
	if out := k.run("", "get", "vm", "--field-selector", "metadata.name=my-orka-vm", "-o", "name", "-A"); strings.Count(out, "\n") != 1 {
		t.Errorf("selected by name: %s", out)
	}
	k.run("", "label", "vm", "my-orka-vm", "team=b")
	k.run("", "annotate", "vm", "my-orka-vm", "note=1")
	k.run("", "get", "orkanodes,images,vmconfigs,ns,sa,pods", "--ignore-not-found", "-o", "name")

	// What a client dials.
	var vm struct {
		Status struct {
			HostIP  string
			SSHPort int
		}
	}
	if err := json.Unmarshal([]byte(k.run("", "get", "vm", "my-orka-vm", "-o", "json")), &vm); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, login(t, vm.Status.HostIP, vm.Status.SSHPort), "echo $((6*7))"); got != "42" {
		t.Errorf("got %q", got)
	}

	k.run("", "delete", "vm", "my-orka-vm") // waits until it is gone
	if out := k.fails("", "get", "vm", "my-orka-vm"); !strings.Contains(out, `virtualmachineinstances.orka.macstadium.com "my-orka-vm" not found`) {
		t.Errorf("get of a deleted VM: %s", out)
	}
	k.run("", "delete", "vm", "--all")

	until("MODIFIED my-orka-vm Running")
	until("DELETED my-orka-vm Running")
}

func TestKubectlIsRefused(t *testing.T) {
	c := start(t, devorka.Config{})
	k := c.tool(c.token)
	for name, tt := range map[string]struct{ spec, want string }{
		"field":   {`{image: sonoma-90gb-orka3-arm, cpus: 4}`, `strict decoding error: unknown field "cpus"`},
		"type":    {`{image: sonoma-90gb-orka3-arm, cpu: many}`, `is invalid: cpu: Invalid value`},
		"image":   {`{image: windows-11}`, `Image windows-11 not found`},
		"cores":   {`{image: sonoma-90gb-orka3-arm, cpu: 1}`, `denied the request: cpu must be at least 2`},
		"console": {`{image: sonoma-90gb-orka3-arm, gpuPassthrough: true, vncConsole: true}`, `cannot both be enabled`},
		"named":   {`{image: sonoma-90gb-orka3-arm, cpu: many}`, `VirtualMachineInstance "named" is invalid`},
		"ports":   {`{image: sonoma-90gb-orka3-arm, reservedPorts: "80"}`, `<NODE_PORT>:<VM_PORT>`},
		"tag":     {`{image: sonoma-90gb-orka3-arm, tag: ` + strings.Repeat("x", 33) + `}`, `tag must be no more than 32 characters`},
	} {
		out := k.fails("{apiVersion: orka.macstadium.com/v1, kind: VirtualMachineInstance, metadata: {name: "+name+"}, spec: "+tt.spec+"}", "create", "-f", "-")
		if !strings.Contains(out, tt.want) {
			t.Errorf("%s: %s\nwant %s", name, out, tt.want)
		}
	}
	// Kubernetes' own kinds come in protobuf.
	k.run("", "create", "sa", "from-kubectl")
	k.run("", "create", "ns", "orka-kubectl")
	if out := k.fails("", "create", "ns", "team"); !strings.Contains(out, "must start with 'orka-'") {
		t.Errorf("namespace: %s", out)
	}
	if out := k.fails("", "create", "sa", "Bad_Name"); !strings.Contains(out, "Bad_Name") {
		t.Errorf("service account: %s", out)
	}
	k.run("", "delete", "ns", "orka-kubectl")
	named := func(n string) string { return strings.Replace(basicVM, "my-orka-vm", n, 1) }
	if out := k.fails(named("1vm"), "create", "-f", "-"); !strings.Contains(out, "must be a valid DNS-1035 label") || !strings.Contains(out, "Forbidden") && !strings.Contains(out, "forbidden") && !strings.Contains(out, "denied") {
		t.Errorf("name: %s", out)
	}
	k.run(named("a"), "create", "-f", "-")
	if out := k.fails(named("a"), "create", "-f", "-"); !strings.Contains(out, "AlreadyExists") {
		t.Errorf("name taken: %s", out)
	}
	if out := k.run("", "auth", "can-i", "create", "virtualmachineinstances"); !strings.Contains(out, "yes") {
		t.Errorf("can-i: %s", out)
	}
	viewer := c.tool(c.grant(access.Viewer))
	viewer.run("", "get", "vm")
	if out := viewer.fails(named("b"), "create", "-f", "-"); !strings.Contains(out, "Forbidden") || !strings.Contains(out, `cannot create resource "virtualmachineinstances"`) {
		t.Errorf("read-only: %s", out)
	}
	if out := viewer.fails("", "auth", "can-i", "delete", "vm"); !strings.Contains(out, "no") {
		t.Errorf("can-i: %s", out)
	}
	if out := c.tool("nonsense").fails("", "get", "vm"); !strings.Contains(out, "Unauthorized") && !strings.Contains(out, "must be logged in") && !strings.Contains(out, "provide credentials") {
		t.Errorf("no token: %s", out)
	}
	if err := c.RotateKeys(); err != nil {
		t.Fatal(err)
	}
	if code, text := c.call(http.MethodGet, vms, nil); code != http.StatusUnauthorized || !strings.Contains(text, `"reason":"Unauthorized"`) || !strings.Contains(text, strconv.Itoa(code)) {
		t.Errorf("old token: %d %s", code, text)
	}
}
