package devorka_test

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
)

// TestPower: only VMs on Intel nodes can be stopped, started and reverted.
func TestPower(t *testing.T) {
	c := start(t, devorka.Config{Hosts: 1, IntelHosts: 1})
	vm := c.deploy("intel", "90gbventurassh.img")
	if vm.Node != "mini-intel-1" {
		t.Errorf("an image for Intel is on %s", vm.Node)
	}
	sh(t, login(t, vm.IP, *vm.SSH), "echo kept >file")
	exec := func(action string) (int, string) {
		return c.call(http.MethodPost, vms+"/intel/exec", map[string]any{"action": action})
	}
	good := func(action string) {
		t.Helper()
		if code, text := exec(action); code != http.StatusOK {
			t.Fatalf("%s: %d %s", action, code, text)
		}
	}
	good("stop")
	if conn, err := net.DialTimeout("tcp", net.JoinHostPort(vm.IP, strconv.Itoa(*vm.SSH)), time.Second); err == nil {
		conn.Close()
		t.Error("a VM that is stopped answers")
	}
	if status, _, _, _ := c.byName("intel"); status != "Running" {
		t.Errorf("a VM that is stopped reads %q, not Running", status)
	}
	good("start")
	if got := sh(t, login(t, vm.IP, *vm.SSH), "cat file"); got != "kept" {
		t.Errorf("after a restart: %q", got)
	}
	good("revert")
	if got := sh(t, login(t, vm.IP, *vm.SSH), "ls"); got != "" {
		t.Errorf("after a revert: %q", got)
	}
	if code, _ := exec("suspend"); code != http.StatusNotImplemented {
		t.Errorf("suspend: %d", code)
	}
	if code, _ := exec("dance"); code != http.StatusBadRequest {
		t.Errorf("dance: %d", code)
	}
	c.deploy("arm", sequoia)
	if code, text := c.call(http.MethodPost, vms+"/arm/exec", map[string]any{"action": "stop"}); code != http.StatusForbidden || !strings.Contains(text, "not supported on Apple silicon") {
		t.Errorf("stop on Apple silicon: %d %s", code, text)
	}
}
