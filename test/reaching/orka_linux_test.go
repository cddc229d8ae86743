package reaching

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// orkaHost is where the Orka cluster of the private network and its one node are.
const orkaHost = "10.77.0.4"

// An orka is a cluster in the private network: the program that users start, and no
// network but that one.
type orka struct {
	*meeting
	token  string
	client *http.Client
}

// orka starts one. Its end is that of its VMs.
func (m *meeting) orka() *orka {
	m.t.Helper()
	m.must(m.private, "ip", "addr", "add", orkaHost+"/32", "dev", "lo")
	cmd := m.command(m.private, bin, "--output", "json", "dev", "orka", "--listen", orkaHost+":8080", "--kube-listen", orkaHost+":6443", "--speed", "600", "--role", "orka-dev", "--password", "admin")
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	said := m.file("orka.log", "")
	if cmd.Stderr, err = os.Create(said); err != nil {
		m.t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "HOME="+m.dir, "TMPDIR="+m.dir)
	// Asked to end it ends its VMs; killed, as others here are, it would leave them.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = waitLimit
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		err := cmd.Wait() // the test's end has cancelled it
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			b, _ := os.ReadFile(said) // best effort: the test has failed anyway
			m.t.Errorf("dev orka: exit code %d, %v\n%s", code, err, b)
		}
	})
	var shown struct{ Token string }
	if err := json.NewDecoder(out).Decode(&shown); err != nil {
		m.t.Fatal(err)
	}
	return &orka{meeting: m, token: m.file("orka.token", shown.Token+"\n"), client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(_ context.Context, _, address string) (net.Conn, error) { return m.dial(m.private, address) },
	}}}
}

// config is endpoint and token, and the way there if there is one.
func (o *orka) config(via string) string {
	o.t.Helper()
	if via != "" {
		via = "via: " + via
	}
	return o.file("orka.yaml", fmt.Sprintf(`
default: orka
providers:
  orka:
    %s
    orka: {endpoint: "http://%s:8080", tokenFile: %q}
`, via, orkaHost, o.token))
}

// vms are those that the cluster has, asked in its own network.
func (o *orka) vms() (names []string) {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), http.MethodGet, "http://"+orkaHost+":8080/api/v1/namespaces/orka-default/vms", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	token, err := os.ReadFile(o.token)
	if err != nil {
		o.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := o.client.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct{ Items []struct{ Name string } }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || resp.StatusCode != http.StatusOK {
		o.t.Fatalf("list VMs: %s, %v", resp.Status, err)
	}
	for _, vm := range list.Items {
		names = append(names, vm.Name)
	}
	return names
}

// none wants no VM to be left.
func (o *orka) none() {
	o.t.Helper()
	if got := o.vms(); len(got) != 0 {
		o.t.Errorf("VMs %v are left", got)
	}
}

// The ports of the cluster: of REST, of Kubernetes, and of its VMs' SSH servers.
var (
	orkaREST = orkaHost + ":8080"
	orkaKube = orkaHost + ":6443"
	orkaSSH  = orkaHost + ":8822-9122"
)

// Nothing is configured but endpoint, token and the way: API and VMs are reached
// through an outpost, through either door, and not at all without.
func TestOrkaBehindAnOutpost(t *testing.T) {
	m := newMeeting(t)
	o := m.orka()
	o.refuses(o.config(""), "ProviderDown", "network is unreachable", "http://"+orkaREST)

	token := m.token("lab/east")
	m.open()
	pass := m.via("lab", m.pass("me", "lab", "--to", orkaHost+":*"))
	rest := m.outpost(token, orkaREST, orkaSSH)
	rest.says("session begins", 1)
	o.works(o.config(pass))
	m.hub.says(`not connected" from=`, 1) // the Kubernetes door is not in the outpost's list, so REST it was
	o.none()

	rest.kill()
	m.hub.says("outpost gone", 1)
	m.outpost(token, orkaREST, orkaKube, orkaSSH).says("session begins", 1)
	o.works(o.config(pass))
	m.hub.says("msg=connected from="+hubHost, 1)
	if !strings.Contains(m.hub.text(), "network=lab to="+orkaKube+" for=me after=") {
		t.Errorf("the Kubernetes door was not used:\n%s", m.hub.text())
	}
	o.none()
}

// The outpost goes while a command runs on a VM, and comes back: no line is lost. Once it
// is gone for good, the run says so, and the VM is deleted when there is a way again.
func TestOrkaOutpostGone(t *testing.T) {
	m := newMeeting(t)
	o := m.orka()
	token := m.token("lab/east")
	m.open()
	config := o.config(m.via("lab", m.pass("me", "lab", "--to", orkaHost+":*")))
	o.refuses(config, "Unreachable", "no outpost of network lab is connected")

	east := m.outpost(token, orkaREST, orkaKube, orkaSSH)
	east.says("session begins", 1)
	r := m.begin(config)
	r.until(20)
	east.kill()
	m.hub.says("outpost gone", 1)
	east = m.outpost(token, orkaREST, orkaKube, orkaSSH)
	r.end()
	o.none()

	r = m.begin(config, "--absence", "2s")
	r.until(20)
	east.kill()
	for r.out.Scan() { // what was on its way
	}
	_ = r.cmd.Wait() // the code tells
	if code, said := r.cmd.ProcessState.ExitCode(), r.said(); code != 125 || !strings.Contains(said, "no outpost of network lab is connected") || !strings.Contains(said, "outrigger fetch run-") {
		t.Errorf("exit code %d, want 125 and what to do:\n%s", code, said)
	}
	left := o.vms()
	if len(left) != 1 {
		t.Fatalf("VMs %v, want the one that has the results", left)
	}
	m.outpost(token, orkaREST, orkaKube, orkaSSH).says("session begins", 1)
	stdout, stderr, code := m.run(m.outrigger(config, "gc"))
	_, run, kept := strings.Cut(stdout, "outrigger fetch ")
	if code != 0 || !kept {
		t.Fatalf("gc: exit code %d, %s%s", code, stdout, stderr)
	}
	if stdout, stderr, code = m.run(m.outrigger(config, "fetch", strings.TrimSpace(run))); code != 0 {
		t.Errorf("fetch: exit code %d, %s%s", code, stdout, stderr)
	}
	o.none()
	if records, err := filepath.Glob(filepath.Join(m.dir, "state", "outrigger", "ledger", "*.json")); err != nil || len(records) > 0 {
		t.Errorf("the ledger has %v, %v", records, err)
	}
}
