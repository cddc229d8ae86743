package devorka_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/operator"
)

// serveVariable makes this binary serve a cluster on the folder that it names, "-" for
// one of its own, until it is killed.
const serveVariable = "OUTRIGGER_TEST_SERVE_ORKA"

func TestMain(m *testing.M) {
	dir := os.Getenv(serveVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	if dir == "-" {
		dir = ""
	}
	s, err := devorka.Start(devorka.Config{State: dir, Times: &operator.Times{}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	token, err := s.Token(devorka.Grant{Role: access.Admin})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.Endpoint(), token)
	select {}
}

// killed serves a cluster in another process, lets use have it, and kills that process.
func killed(t *testing.T, state string, use func(c *cluster)) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), serveVariable+"="+state)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	endpoint, token, _ := strings.Cut(strings.TrimSpace(line), " ")
	use(&cluster{t: t, token: token, endpoint: endpoint})
}

// TestKilledWithState: the next process on the folder takes the VMs over, with what runs on them.
func TestKilledWithState(t *testing.T) {
	dir := t.TempDir()
	var vm deployed
	var token string
	killed(t, dir, func(c *cluster) {
		token = c.token
		vm = c.deploy("survivor", sequoia)
		sh(t, login(t, vm.IP, *vm.SSH), "(trap '' HUP; exec sleep 1000) >/dev/null 2>&1 & echo $! >pid")
	})
	c := start(t, devorka.Config{State: dir})
	c.token = token
	list := ok[listed](c, http.MethodGet, vms, nil)
	if len(list.Items) != 1 || list.Items[0].Status != "Running" || *list.Items[0].SSH != *vm.SSH || list.Items[0].IP != vm.IP {
		t.Fatalf("after the kill: %+v", list)
	}
	if got := sh(t, login(t, vm.IP, *vm.SSH), "kill -0 $(cat pid) && echo runs"); got != "runs" {
		t.Errorf("what ran on the VM: %q", got)
	}
	c.call(http.MethodDelete, vms+"/survivor", nil)
	await(t, "the VM is gone", func() bool { return len(c.VMs()) == 0 })
	if p := processesOf(t, dir); len(p) > 0 {
		t.Errorf("processes outlived the VM: %v", p)
	}
}

// TestKilledWithout: the next cluster removes what one that was killed left.
func TestKilledWithout(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	killed(t, "-", func(c *cluster) {
		vm := c.deploy("orphan", sequoia)
		sh(t, login(t, vm.IP, *vm.SSH), "(trap '' HUP; exec sleep 1000) >/dev/null 2>&1 &")
	})
	left, err := filepath.Glob(filepath.Join(tmp, "outrigger-orka-*"))
	if err != nil || len(left) != 1 || len(processesOf(t, left[0])) == 0 {
		t.Fatalf("nothing was left by the kill: %v %v", left, err)
	}
	then := time.Now().Add(-time.Hour) // younger ones may just be starting
	if err := os.Chtimes(filepath.Join(left[0], "lock"), then, then); err != nil {
		t.Fatal(err)
	}
	s, err := devorka.Start(devorka.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Stat(left[0]); err == nil {
		t.Error("the folder of the one that was killed is there")
	}
	if p := processesOf(t, left[0]); len(p) > 0 {
		t.Errorf("processes of the one that was killed: %v", p)
	}
}
