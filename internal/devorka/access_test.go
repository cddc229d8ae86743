package devorka_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/access"
)

// kubeGet gets an object through the Kubernetes door.
func kubeGet[T any](c *cluster, path string) (v T) {
	c.t.Helper()
	resp, err := c.kube(c.t.Context(), path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		c.t.Fatalf("%v in %s", err, b)
	}
	return v
}

// claims are what a token says, as any client can read it.
func claims(t *testing.T, token string) (c struct {
	Exp, Iat int64
	Sub      string
},
) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServiceAccounts(t *testing.T) {
	c := start(t, devorka.Config{})
	const sa = "/api/v1/namespaces/orka-default/serviceaccounts/ci"
	ok[map[string]any](c, http.MethodPost, sa, nil)
	token := ok[struct{ Token string }](c, http.MethodPost, sa+"/token", map[string]any{}).Token
	if got := claims(t, token); got.Sub != "system:serviceaccount:orka-default:ci" || got.Exp-got.Iat != int64((8760*time.Hour).Seconds()) {
		t.Errorf("claims: %+v", got)
	}
	try := func() int {
		code, _, err := c.try(http.MethodGet, vms, token, nil)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	if code := try(); code != http.StatusOK {
		t.Errorf("a new account is a developer of its namespace: %d", code)
	}
	if code, text := c.call(http.MethodPost, "/api/v1/namespaces/orka-default/serviceaccounts/Bad_Name", nil); code != http.StatusUnprocessableEntity {
		t.Errorf("a name that is none: %d %s", code, text)
	}
	const subjects = "/api/v1/namespaces/orka-default/rolebindings/orka-dev/subjects/"
	who := map[string]any{"serviceaccounts": []any{map[string]any{"name": "ci", "namespace": "orka-default"}}}
	ok[map[string]any](c, http.MethodPost, subjects+"add", who)
	if code := try(); code != http.StatusOK {
		t.Errorf("with the role: %d", code)
	}
	if code, text, _ := c.try(http.MethodPost, "/dev/faults", token, map[string]any{"kind": "lost"}); code != http.StatusForbidden {
		t.Errorf("faults for everybody: %d %s", code, text)
	}
	ok[map[string]any](c, http.MethodDelete, subjects+"remove", who)
	if code := try(); code != http.StatusForbidden {
		t.Errorf("after the role was taken: %d", code)
	}
	c.call(http.MethodDelete, sa, nil)
	ok[map[string]any](c, http.MethodPost, sa, nil)
	if code := try(); code != http.StatusUnauthorized {
		t.Errorf("a token of the account before: %d", code)
	}
}

func TestTokensExpire(t *testing.T) {
	c := start(t, devorka.Config{})
	token, err := c.Token(devorka.Grant{Role: access.Dev, TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	exp := time.Unix(claims(t, token).Exp, 0)
	await(t, "the token is refused", func() bool {
		code, text, err := c.try(http.MethodGet, vms, token, nil)
		if err != nil {
			t.Fatal(err)
		}
		if code == http.StatusOK && time.Now().After(exp.Add(time.Second)) {
			t.Fatal("the token is good after exp")
		}
		return code == http.StatusUnauthorized && strings.Contains(text, `"message":"Unauthorized"`)
	})
	if time.Now().Before(exp) {
		t.Errorf("refused before %s", exp)
	}
	forever, err := c.Token(devorka.Grant{Role: access.Dev, Forever: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := claims(t, forever); got.Exp != 0 {
		t.Errorf("exp %d of a token that does not expire", got.Exp)
	}
}

func TestNamespaces(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 2})
	if code, text := c.call(http.MethodPost, "/api/v1/namespaces", map[string]any{"name": "team"}); code != http.StatusForbidden || !strings.Contains(text, "must start with 'orka-'") {
		t.Errorf("bad name: %d %s", code, text)
	}
	st := ok[struct{ Kind, Status string }](c, http.MethodPost, "/api/v1/namespaces", map[string]any{"name": "orka-team"})
	if st.Kind != "Status" || st.Status != "Success" {
		t.Errorf("created: %+v", st)
	}
	if n := ok[struct {
		Name       string
		CustomPods bool
	}](c, http.MethodGet, "/api/v1/namespaces/orka-team", nil); n.Name != "orka-team" || n.CustomPods {
		t.Errorf("namespace: %+v", n)
	}
	const there = "/api/v1/namespaces/orka-team/vms"
	refused := func(method, path string, body any, words string) {
		t.Helper()
		if code, text := c.call(method, path, body); code != http.StatusForbidden || !strings.Contains(text, words) {
			t.Errorf("%s %s: %d %s, want 403 and %q", method, path, code, text, words)
		}
	}
	ok[map[string]any](c, http.MethodPost, "/api/v1/namespaces", map[string]any{"name": "orka-pods", "enableCustomPods": true})
	refused(http.MethodPost, "/api/v1/namespaces/orka-pods/vms", map[string]any{"image": sequoia}, "Orka VMs cannot be deployed")
	done := make(chan int, 1)
	go func() {
		code, _, _ := c.try(http.MethodPost, there, c.token, map[string]any{"image": sequoia, "name": "same"})
		done <- code
	}()
	await(t, "the VM is there", func() bool { return len(ok[listed](c, http.MethodGet, there, nil).Items) == 1 })
	ok[map[string]any](c, http.MethodPost, "/api/v1/namespaces/orka-default/nodes/mini-arm-2/namespace", map[string]any{"namespace": "orka-team"})
	if code := <-done; code != http.StatusOK {
		t.Errorf("deploy after the namespace got a node: %d", code)
	}
	refused(http.MethodDelete, "/api/v1/namespaces/orka-team", nil, "has VMs")
	const node = "/api/v1/namespaces/orka-team/nodes/mini-arm-2/namespace"
	refused(http.MethodPost, node, map[string]any{"namespace": "orka-default"}, "runs VM same")
	ok[map[string]any](c, http.MethodPost, "/api/v1/namespaces", map[string]any{"name": "orka-gone"})
	ok[map[string]any](c, http.MethodDelete, "/api/v1/namespaces/orka-gone", nil)
	c.deploy("same", sequoia) // a name is one's own per namespace
	if code, text := c.call(http.MethodPost, vms, map[string]any{"image": sequoia, "name": "same"}); code != http.StatusConflict {
		t.Errorf("same name again: %d %s", code, text)
	}
	c.Operator().SetQuota("orka-default", 1)
	if code, text := c.call(http.MethodPost, vms, map[string]any{"image": sequoia}); code != http.StatusForbidden || !strings.Contains(text, "exceeded quota") {
		t.Errorf("quota: %d %s", code, text)
	}
}

func TestTemplates(t *testing.T) {
	c := start(t, devorka.Config{})
	const configs = "/api/v1/namespaces/orka-default/vmconfigs"
	ok[map[string]any](c, http.MethodPost, configs, map[string]any{"name": "ci", "image": "sonoma-90gb-orka3-arm", "cpu": 4, "memory": 7.25})
	if code, text := c.call(http.MethodPost, configs, map[string]any{"name": "CI", "image": "sonoma-90gb-orka3-arm"}); code != http.StatusForbidden || !strings.Contains(text, "VM config name must be a valid DNS-1035 label") {
		t.Errorf("bad name: %d %s", code, text)
	}
	vm := ok[deployed](c, http.MethodPost, vms, map[string]any{"vmConfig": "ci", "name": "build", "shouldGenerateName": true})
	if !strings.HasPrefix(vm.Name, "build-") || vm.Memory != "7.30Gi" && vm.Memory != "7.20Gi" {
		t.Errorf("deployed: %+v", vm)
	}
	if got := ok[listed](c, http.MethodGet, vms, nil).Items[0]; got.CPU != 4 || got.Image != "sonoma-90gb-orka3-arm" {
		t.Errorf("listed: %+v", got)
	}
	if code, text := c.call(http.MethodPost, vms, map[string]any{"vmConfig": "other"}); code != http.StatusForbidden || !strings.Contains(text, "VM config other not found") {
		t.Errorf("unknown template: %d %s", code, text)
	}
}

// TestReservedPorts: what listens on a machine is reached at the node's port.
func TestReservedPorts(t *testing.T) {
	c := start(t, devorka.Config{})
	web, err := net.Listen("tcp", "127.0.0.1:0") // a local machine's ports are this computer's
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	go func() {
		for {
			conn, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hello"))
			conn.Close()
		}
	}()
	port := web.Addr().(*net.TCPAddr).Port
	vm := ok[deployed](c, http.MethodPost, vms, map[string]any{"image": sequoia, "name": "web", "reservedPorts": "31337:" + strconv.Itoa(port) + ",31338:53/udp"})
	if !strings.Contains(vm.PortWarnings, "31338") {
		t.Errorf("port warnings: %q", vm.PortWarnings)
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(vm.IP, "31337"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if b, _ := io.ReadAll(conn); string(b) != "hello" {
		t.Errorf("got %q", b)
	}
}

func TestBridge(t *testing.T) {
	c := start(t, devorka.Config{Bridge: true})
	ln, err := net.Listen("tcp", "127.99.99.99:22")
	if err != nil {
		t.Skipf("port 22 is not ours to open: %v", err)
	}
	ln.Close()
	a, b := c.deploy("a", sequoia), c.deploy("b", sequoia)
	if a.IP == b.IP || *a.SSH != 22 || *b.SSH != 22 || *a.Screenshare != 5900 || *a.VNC < 6000 {
		t.Errorf("bridged: %+v %+v", a, b)
	}
	if got := sh(t, login(t, b.IP, 22), "echo hi"); got != "hi" {
		t.Errorf("got %q", got)
	}
	if st := kubeGet[struct{ Status struct{ IP, HostIP string } }](c, instances+"/a").Status; st.IP != a.IP || st.HostIP == st.IP {
		t.Errorf("status: %+v", st)
	}
}

// TestStateIsKept: images and tokens outlive the process, VMs do not.
func TestStateIsKept(t *testing.T) {
	dir := t.TempDir()
	c := start(t, devorka.Config{State: dir})
	vm := c.deploy("maker", "sonoma-90gb-orka3-arm")
	sh(t, login(t, vm.IP, *vm.SSH), "echo kept >file")
	ok[map[string]any](c, http.MethodPost, vms+"/maker/save", map[string]any{"imageName": "kept"})
	await(t, "the image is ready", func() bool { return ok[image](c, http.MethodGet, images+"/kept", nil).State == "Ready" })
	if _, err := devorka.Start(devorka.Config{State: dir}); err == nil || !strings.Contains(err.Error(), "another cluster runs") {
		t.Errorf("a second cluster on the folder: %v", err)
	}
	token, ca := c.token, string(c.CA())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	next := start(t, devorka.Config{State: dir})
	next.token = token
	if len(ok[listed](next, http.MethodGet, vms, nil).Items) != 0 || string(next.CA()) != ca {
		t.Error("VMs are there, or the certificate is another")
	}
	again := next.deploy("user", "kept")
	if got := sh(t, login(t, again.IP, *again.SSH), "cat file"); got != "kept" {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "objects.json")); err != nil {
		t.Error(err)
	}
}

// TestNodesStayInReach: a namespace goes when its nodes have, not with them.
func TestNodesStayInReach(t *testing.T) {
	c := start(t, devorka.Config{})
	const namespaces = "/api/v1/namespaces"
	move := func(from, to string) (int, string) {
		return c.call(http.MethodPost, namespaces+"/"+from+"/nodes/mini-arm-1/namespace", map[string]any{"namespace": to})
	}
	ok[map[string]any](c, http.MethodPost, namespaces, map[string]any{"name": "orka-team"})
	if code, text := move("orka-default", "orka-none"); code != http.StatusNotFound {
		t.Errorf("to a namespace that is not there: %d %s", code, text)
	}
	if code, text := move("orka-default", "orka-team"); code != http.StatusOK {
		t.Fatalf("move: %d %s", code, text)
	}
	if code, text := c.call(http.MethodDelete, namespaces+"/orka-team", nil); code != http.StatusForbidden || !strings.Contains(text, "mini-arm-1") {
		t.Errorf("delete with a node: %d %s", code, text)
	}
	if code, text := move("orka-team", "orka-default"); code != http.StatusOK {
		t.Fatalf("move back: %d %s", code, text)
	}
	ok[map[string]any](c, http.MethodDelete, namespaces+"/orka-team", nil)
	c.deploy("a", sequoia)
}

// TestRolesAreOrkas: what the documentation says of each role, and that it gives no more.
func TestRolesAreOrkas(t *testing.T) {
	c := start(t, devorka.Config{})
	const other = "/api/v1/namespaces/orka-other"
	ok[map[string]any](c, http.MethodPost, "/api/v1/namespaces", map[string]any{"name": "orka-other"})
	for _, tt := range []struct {
		role, method, path string
		body               any
		want               int
	}{
		{access.ClusterDev, http.MethodGet, other + "/vms", nil, 200},
		{access.ClusterDev, http.MethodGet, vms, nil, 200},
		{access.ClusterDev, http.MethodPost, vms, map[string]any{"image": sequoia}, 403},
		{access.ClusterDev, http.MethodDelete, vms + "/a", nil, 403},
		{access.ClusterDev, http.MethodPost, "/api/v1/namespaces", map[string]any{"name": "orka-no"}, 403},
		{access.NamespaceAdmin, http.MethodGet, "/api/v1/namespaces", nil, 200},
		{access.NamespaceAdmin, http.MethodPost, "/api/v1/namespaces", map[string]any{"name": "orka-new"}, 200},
		{access.NamespaceAdmin, http.MethodDelete, "/api/v1/namespaces/orka-new", nil, 200},
		{access.NamespaceAdmin, http.MethodPost, vms, map[string]any{"image": sequoia}, 403},
		{access.NamespaceAdmin, http.MethodPost, "/api/v1/namespaces/orka-default/serviceaccounts/x", nil, 403},
		{access.Dev, http.MethodGet, other + "/vms", nil, 403},
	} {
		code, text, err := c.try(tt.method, tt.path, c.grant(tt.role), tt.body)
		if err != nil || code != tt.want {
			t.Errorf("%s: %s %s: %d %s (%v), want %d", tt.role, tt.method, tt.path, code, text, err, tt.want)
		}
	}
}
