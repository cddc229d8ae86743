package devorka_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/operator"
)

// A cluster is one under test and what a client of it was told.
type cluster struct {
	*devorka.Server
	t        *testing.T
	endpoint string
	token    string
	state    string
}

// start starts a cluster whose times are short, and checks at the end that it left
// nothing: no process, no folder, no port.
func start(t *testing.T, cfg devorka.Config) *cluster {
	t.Helper()
	if cfg.State == "" {
		cfg.State = t.TempDir()
	}
	if cfg.Times == nil {
		cfg.Times = &operator.Times{}
	}
	s, err := devorka.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Server: s, t: t, endpoint: s.Endpoint(), state: cfg.State}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		left, err := filepath.Glob(filepath.Join(cfg.State, "machines", "machines", "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
		if p := processesOf(t, cfg.State); len(p) > 0 {
			t.Errorf("processes left behind: %v", p)
		}
		if conn, err := net.DialTimeout("tcp", strings.TrimPrefix(c.endpoint, "http://"), time.Second); err == nil {
			conn.Close()
			t.Error("the REST door still listens")
		}
	})
	c.token = c.grant(access.Admin)
	return c
}

func (c *cluster) grant(role string) string {
	c.t.Helper()
	token, err := c.Token(devorka.Grant{Role: role})
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

// processesOf returns the command lines of processes that carry the mark of a machine below dir.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range procs {
		environ, err := os.ReadFile(filepath.Join(p, "environ"))
		if err != nil || !strings.Contains(string(environ), "OUTRIGGER_MACHINE="+dir) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		found = append(found, p+" "+strings.ReplaceAll(string(line), "\x00", " "))
	}
	return found
}

// call is a request as curl would send it. It returns the status code and the body.
func (c *cluster) call(method, path string, body any) (int, string) {
	c.t.Helper()
	code, text, err := c.try(method, path, c.token, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return code, text
}

func (c *cluster) try(method, path, token string, body any) (int, string, error) {
	c.t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.endpoint+path, in)
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Close = true // so that no connection is reused that a fault has broken
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// ok wants a good answer and decodes it into a T.
func ok[T any](c *cluster, method, path string, body any) T {
	c.t.Helper()
	code, text := c.call(method, path, body)
	if code != http.StatusOK && code != http.StatusCreated {
		c.t.Fatalf("%s %s: %d %s", method, path, code, text)
	}
	var v T
	if text != "" {
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return v
}

const vms = "/api/v1/namespaces/orka-default/vms"

const sequoia = "ghcr.io/macstadium/orka-images/sequoia:latest"

// A deployed is what the documentation's example of a deploy has.
type deployed struct {
	Name, Node, Memory, IP, Status, PortWarnings string
	SSH, VNC, Screenshare                        *int
}

type listed struct {
	Items []struct {
		Name, IP, Status, Node, Image, Memory, DeployDate string
		CPU                                               int
		SSH                                               *int
	}
}

// login logs in as Orka's images let one, waiting until sshd is up.
func login(t *testing.T, host string, port int) *ssh.Client {
	t.Helper()
	cfg := &ssh.ClientConfig{
		User: "admin", Auth: []ssh.AuthMethod{ssh.Password("admin")}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		client, err := ssh.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(port)), cfg)
		if err == nil {
			t.Cleanup(func() { client.Close() })
			return client
		}
		if time.Now().After(deadline) {
			t.Fatalf("ssh %s:%d: %v", host, port, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func sh(t *testing.T, c *ssh.Client, command string) string {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.CombinedOutput(command)
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// await waits for a fact.
func await(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !fact(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// TestRESTFromOutside is the quick start of MacStadium's API, call by call.
func TestRESTFromOutside(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 1})
	code, text, err := c.try(http.MethodGet, "/api/v1/cluster-info", "", nil)
	if err != nil || code != http.StatusOK {
		t.Fatal(code, text, err)
	}
	var info map[string]any
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"apiDomain", "apiEndpoint", "appClientId", "baseOauthEndpoint", "certData", "gpuPassthroughEnabled"} {
		if _, ok := info[key]; !ok {
			t.Errorf("cluster-info lacks %s: %s", key, text)
		}
	}
	if code, text := c.call(http.MethodGet, vms, nil); code != http.StatusOK || strings.TrimSpace(text) != `{"items":[]}` {
		t.Errorf("empty list: %d %s", code, text)
	}
	vm := ok[deployed](c, http.MethodPost, vms, map[string]any{"image": sequoia})
	if vm.Status != "Running" || vm.Memory != "4.80Gi" || !strings.HasPrefix(vm.Name, "vm-") || vm.Node != "mini-arm-1" {
		t.Errorf("deployed %+v", vm)
	}
	if *vm.SSH < 8822 || *vm.SSH > 9122 || *vm.VNC < 5999 || *vm.VNC > 6299 || *vm.Screenshare < 5900 || *vm.Screenshare > 6200 {
		t.Errorf("ports %d %d %d", *vm.SSH, *vm.VNC, *vm.Screenshare)
	}
	list := ok[listed](c, http.MethodGet, vms, nil)
	if len(list.Items) != 1 || list.Items[0].Name != vm.Name || list.Items[0].IP != vm.IP || list.Items[0].CPU != 3 || list.Items[0].Image != sequoia {
		t.Errorf("list %+v", list)
	}
	if _, err := time.Parse(time.RFC3339, list.Items[0].DeployDate); err != nil {
		t.Error(err)
	}
	client := login(t, vm.IP, *vm.SSH)
	if got := sh(t, client, "echo hello >file; cat file"); got != "hello" {
		t.Errorf("got %q", got)
	}
	// What runs there must end with the VM, also what wants to stay.
	sh(t, client, "(trap '' HUP; exec sleep 1000) >/dev/null 2>&1 &")
	if code, text := c.call(http.MethodDelete, vms+"/"+vm.Name, nil); code != http.StatusOK || text != "" {
		t.Errorf("delete: %d %q, want an empty body", code, text)
	}
	await(t, "the VM is gone", func() bool { return len(ok[listed](c, http.MethodGet, vms, nil).Items) == 0 })
	if p := processesOf(t, c.state); len(p) > 0 {
		t.Errorf("processes outlived the VM: %v", p)
	}
	if code, text := c.call(http.MethodDelete, vms+"/"+vm.Name, nil); code != http.StatusNotFound || !strings.Contains(text, `"kind":"Status"`) {
		t.Errorf("second delete: %d %s", code, text)
	}
	if _, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", vm.IP, *vm.SSH), time.Second); err == nil {
		t.Error("the SSH port still answers")
	}
}
