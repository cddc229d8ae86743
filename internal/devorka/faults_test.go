package devorka_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/operator"
)

// arm arms a fault through the admin endpoint, as somebody without Go would.
func (c *cluster) arm(fault string) {
	c.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(fault), &v); err != nil {
		c.t.Fatal(err)
	}
	if code, text := c.call(http.MethodPost, "/dev/faults", v); code != http.StatusCreated {
		c.t.Fatalf("fault %s: %d %s", fault, code, text)
	}
}

func (c *cluster) disarm() { c.Faults().Remove(0) }

// byName finds a VM in the list.
func (c *cluster) byName(name string) (status, ip string, ssh *int, there bool) {
	c.t.Helper()
	for _, vm := range ok[listed](c, http.MethodGet, vms, nil).Items {
		if vm.Name == name {
			return vm.Status, vm.IP, vm.SSH, true
		}
	}
	return "", "", nil, false
}

func TestRequestFaults(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 4})
	deploy := func(name string) (int, string, error) {
		return c.try(http.MethodPost, vms, c.token, map[string]any{"image": sequoia, "name": name})
	}
	c.arm(`{"kind": "lost", "method": "POST", "count": 1}`)
	if code, text, err := deploy("lost"); err == nil {
		t.Errorf("lost: answered %d %s", code, text)
	}
	if status, _, _, there := c.byName("lost"); !there || status != "Running" {
		t.Errorf("a lost answer is that of something that was done: %q %v", status, there)
	}
	c.arm(`{"kind": "refuse", "path": "/vms$", "method": "POST", "count": 1}`)
	if _, _, err := deploy("refused"); err == nil {
		t.Error("refused: answered")
	}
	if _, _, _, there := c.byName("refused"); there {
		t.Error("a refused request was carried out")
	}
	c.arm(`{"kind": "error", "status": 503, "count": 1}`)
	if code, text, err := deploy("error"); err != nil || code != 503 || !strings.Contains(text, `"reason":"ServiceUnavailable"`) {
		t.Errorf("error: %d %s %v", code, text, err)
	}
	c.arm(`{"kind": "slow", "delay": "300ms", "count": 1}`)
	began := time.Now()
	if code, text, err := deploy("slow"); err != nil || code != 200 || time.Since(began) < 300*time.Millisecond {
		t.Errorf("slow: %d %s %v after %s", code, text, err, time.Since(began))
	}
	c.arm(`{"kind": "taken", "vm": "^wanted$", "count": 1}`)
	if code, text, err := deploy("wanted"); err != nil || code != 409 || !strings.Contains(text, "VM with name wanted already exists") {
		t.Errorf("taken: %d %s %v", code, text, err)
	}
	i := slices.IndexFunc(c.VMs(), func(v devorka.VM) bool { return v.Name == "wanted" })
	if i < 0 || c.VMs()[i].CreatedBy != operator.Stranger {
		t.Errorf("the name is taken by nobody: %v", c.VMs())
	}
	if code, text := c.call(http.MethodPost, "/dev/faults", map[string]any{"kind": "rain"}); code != 400 || !strings.Contains(text, "want one of") {
		t.Errorf("unknown fault: %d %s", code, text)
	}
}

func TestVMFaults(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 6, Minute: 300 * time.Millisecond})
	deploy := func(name string) (int, string) {
		return c.call(http.MethodPost, vms, map[string]any{"image": sequoia, "name": name, "timeout": 1})
	}
	c.arm(`{"kind": "no-capacity"}`)
	if code, text := deploy("patient"); code != http.StatusGatewayTimeout || !strings.Contains(text, `"kind":"Status"`) {
		t.Errorf("no capacity: %d %s", code, text)
	}
	if status, ip, ssh, there := c.byName("patient"); status != "Pending" || ip != "" || ssh != nil || !there {
		t.Errorf("no capacity: %q %q %v, want a VM that is Pending", status, ip, ssh)
	}
	c.disarm()
	await(t, "the VM runs that waited", func() bool { status, _, _, _ := c.byName("patient"); return status == "Running" })

	c.arm(`{"kind": "no-address", "vm": "nowhere"}`)
	if code, text := deploy("nowhere"); code != 200 || strings.Contains(text, `"ssh"`) || !strings.Contains(text, `"ip":""`) {
		t.Errorf("no address: %d %s", code, text)
	}
	c.arm(`{"kind": "fails", "vm": "bad"}`)
	if code, text := deploy("bad"); code != 500 || !strings.Contains(text, "underlying VM process has crashed") {
		t.Errorf("fails: %d %s", code, text)
	}
	if status, _, _, _ := c.byName("bad"); status != "Failed" {
		t.Errorf("fails: %q", status)
	}
	c.arm(`{"kind": "dies", "vm": "mortal", "delay": "100ms"}`)
	deploy("mortal")
	await(t, "the VM has died", func() bool { status, _, _, _ := c.byName("mortal"); return status == "Failed" })
	c.arm(`{"kind": "vanishes", "vm": "ghost", "delay": "100ms"}`)
	deploy("ghost")
	await(t, "the VM has vanished", func() bool { _, _, _, there := c.byName("ghost"); return !there })

	// The file says which machine one is on, whichever door one came through.
	for _, name := range []string{"one", "two"} {
		if name == "two" {
			c.arm(`{"kind": "mixed", "vm": "^two$"}`)
		}
		deploy(name)
		if name == "one" {
			_, ip, ssh, _ := c.byName(name)
			sh(t, login(t, ip, *ssh), "echo one >name")
		}
	}
	// It was mixed up with the one before it.
	for name, want := range map[string]string{"one": "none", "two": "one"} {
		_, ip, ssh, _ := c.byName(name)
		if got := sh(t, login(t, ip, *ssh), "cat name 2>/dev/null || echo none"); got != want {
			t.Errorf("mixed: the port of %s leads to a VM with the file of %q, want %q", name, got, want)
		}
	}
	if err := c.Operator().Mix("orka-default", "one", "patient"); err != nil {
		t.Error(err)
	}
}

// TestNoCapacityHoldsWhatItStruck: a count is of VMs, and each stays Pending until the fault is removed.
func TestNoCapacityHoldsWhatItStruck(t *testing.T) {
	c := start(t, devorka.Config{})
	c.arm(`{"kind": "no-capacity", "count": 1}`)
	done := make(chan int, 1)
	go func() {
		code, _, _ := c.try(http.MethodPost, vms, c.token, map[string]any{"image": sequoia, "name": "held"})
		done <- code
	}()
	await(t, "it has struck", func() bool { return c.Faults().List()[0].Struck == 1 })
	for _, name := range []string{"b", "c"} { // others run, and it is looked at again for each
		c.deploy(name, sequoia)
		c.call(http.MethodDelete, vms+"/"+name, nil)
	}
	if status, _, _, there := c.byName("held"); !there || status != "Pending" {
		t.Errorf("held: %s", status)
	}
	c.disarm()
	if code := <-done; code != http.StatusOK {
		t.Errorf("after the fault was removed: %d", code)
	}
}

func TestTwoVMsPerHost(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 1})
	for _, name := range []string{"a", "b"} {
		ok[deployed](c, http.MethodPost, vms, map[string]any{"image": sequoia, "name": name, "cpu": 2})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		code, text, err := c.try(http.MethodPost, vms, c.token, map[string]any{"image": sequoia, "name": "c", "cpu": 2})
		if err != nil || code != 200 {
			t.Errorf("third VM: %d %s %v", code, text, err)
		}
	})
	await(t, "the third VM waits", func() bool { status, _, _, _ := c.byName("c"); return status == "Pending" })
	node := ok[struct{ Items []struct{ AvailableCPU int } }](c, http.MethodGet, "/api/v1/namespaces/orka-default/nodes", nil)
	if len(node.Items) != 1 || node.Items[0].AvailableCPU != 4 {
		t.Errorf("nodes: %+v", node)
	}
	c.call(http.MethodDelete, vms+"/a", nil)
	wg.Wait()
	if status, _, _, _ := c.byName("c"); status != "Running" {
		t.Errorf("third VM is %s after a place was free", status)
	}
}

// kube is a client of the Kubernetes door that knows HTTP and no more.
func (c *cluster) kube(ctx context.Context, path string) (*http.Response, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.KubeEndpoint()+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	return transport.RoundTrip(req)
}

const instances = "/apis/orka.macstadium.com/v1/namespaces/orka-default/virtualmachineinstances"

func TestRestart(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 2})
	vm := ok[deployed](c, http.MethodPost, vms, map[string]any{"image": sequoia, "name": "steady"})
	client := login(t, vm.IP, *vm.SSH)
	sh(t, client, "echo kept >file")
	resp, err := c.kube(t.Context(), instances)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Metadata struct{ ResourceVersion string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	watch, err := c.kube(t.Context(), instances+"?watch=1&resourceVersion="+list.Metadata.ResourceVersion)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	c.arm(`{"kind": "no-capacity", "vm": "meanwhile"}`)
	broken := make(chan error, 1)
	go func() {
		_, _, err := c.try(http.MethodPost, vms, c.token, map[string]any{"image": sequoia, "name": "meanwhile"})
		broken <- err
	}()
	await(t, "the second VM is on its way", func() bool { return len(c.VMs()) == 2 })
	if err := c.Restart(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := <-broken; err == nil {
		t.Error("a deploy was answered across a restart")
	}
	for before := bufio.NewScanner(watch.Body); before.Scan(); { // ends with the restart
		if strings.Contains(before.Text(), `"phase":"Running"`) && strings.Contains(before.Text(), `"meanwhile"`) {
			t.Error("a watch went on across a restart")
		}
	}
	c.disarm()
	if got := sh(t, client, "cat file"); got != "kept" {
		t.Errorf("the connection to the VM: %q", got)
	}
	await(t, "the second VM runs all the same", func() bool { status, _, _, _ := c.byName("meanwhile"); return status == "Running" })
	old, err := c.kube(t.Context(), instances+"?watch=1&resourceVersion="+list.Metadata.ResourceVersion)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Body.Close()
	lines := bufio.NewScanner(old.Body)
	if !lines.Scan() || !strings.Contains(lines.Text(), `"ERROR"`) || !strings.Contains(lines.Text(), `"code":410`) {
		t.Errorf("watch from before: %s, want an error that says Expired", lines.Text())
	}
}

// TestManyCreations is the load that the provider's chaos test makes: it must not take long.
func TestManyCreations(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	c := start(t, devorka.Config{Hosts: 8, Seed: 1, Minute: 2 * time.Second})
	for _, f := range []inject.Fault{
		{Kind: inject.Lost, Method: "POST", Rate: 0.1}, {Kind: inject.Error, Rate: 0.1}, {Kind: inject.Refuse, Rate: 0.1},
		{Kind: inject.Fails, Rate: 0.05}, {Kind: inject.NoAddress, Rate: 0.05}, {Kind: inject.Dies, Rate: 0.05},
	} {
		if _, err := c.Faults().Add(f); err != nil {
			t.Fatal(err)
		}
	}
	const workers, each = 16, 10
	began := time.Now()
	logins := 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("vm-%d-%d", w, i)
				for range 100 {
					code, _, err := c.try(http.MethodPost, vms, c.token, map[string]any{"image": sequoia, "name": name, "timeout": 1})
					if err == nil && (code == 200 || code == 409 || code == 504) {
						break
					}
				}
				var vm deployed
				for range 1000 {
					code, text, err := c.try(http.MethodGet, vms+"/"+name, c.token, nil)
					if err == nil && code == 200 && json.Unmarshal([]byte(text), &vm) == nil && vm.Status != "Pending" {
						break
					}
				}
				if vm.SSH != nil {
					conn, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", vm.IP, *vm.SSH), time.Second)
					if err == nil {
						conn.Close()
						mu.Lock()
						logins++
						mu.Unlock()
					}
				}
				for range 100 {
					if code, _, err := c.try(http.MethodDelete, vms+"/"+name, c.token, nil); err == nil && (code == 200 || code == 404) {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	c.disarm()
	await(t, "every VM is gone", func() bool { return len(c.VMs()) == 0 })
	t.Logf("%d creations in %s, %d of them reached by SSH", workers*each, time.Since(began).Round(time.Millisecond), logins)
	if logins < workers*each/2 {
		t.Errorf("only %d of %d VMs were reached", logins, workers*each)
	}
	if os.Getenv("OUTRIGGER_SHOW_FAULTS") != "" {
		for _, f := range c.Faults().List() {
			t.Logf("%s struck %d times", f.Kind, f.Struck)
		}
	}
}
