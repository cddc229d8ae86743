package devorka_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

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

// A local machine is this computer: its password is not the one that everybody knows.
func TestThePasswordIsTheOneOfTheStart(t *testing.T) {
	c := start(t, devorka.Config{Password: "of-this-start"})
	vm := c.deploy("mac", sequoia)
	dial := func(password string) error {
		conn, err := ssh.Dial("tcp", net.JoinHostPort(vm.IP, strconv.Itoa(*vm.SSH)), &ssh.ClientConfig{
			User: "admin", Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		if err == nil {
			conn.Close()
		}
		return err
	}
	await(t, "the password opens", func() bool { return dial("of-this-start") == nil })
	if dial("admin") == nil {
		t.Error("the password that everybody knows opens too")
	}
}

// TestHostKeysOfEachKind: clients that know one kind alone meet it, and the same one after a restart of the VM.
func TestHostKeysOfEachKind(t *testing.T) {
	c := start(t, devorka.Config{IntelHosts: 1})
	vm := c.deploy("mac", "90gbventurassh.img")
	seen := map[string]string{}
	for _, round := range []string{"first", "after a restart"} {
		for algorithm, kind := range map[string]string{
			ssh.KeyAlgoRSASHA256: ssh.KeyAlgoRSA, ssh.KeyAlgoRSASHA512: ssh.KeyAlgoRSA, ssh.KeyAlgoECDSA256: ssh.KeyAlgoECDSA256,
			ssh.KeyAlgoED25519: ssh.KeyAlgoED25519,
		} {
			var got ssh.PublicKey
			conn, err := ssh.Dial("tcp", net.JoinHostPort(vm.IP, strconv.Itoa(*vm.SSH)), &ssh.ClientConfig{
				User: "admin", Auth: []ssh.AuthMethod{ssh.Password("admin")}, HostKeyAlgorithms: []string{algorithm},
				HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { got = key; return nil },
			})
			if err != nil {
				t.Errorf("%s, %s: %v", round, algorithm, err)
				continue
			}
			conn.Close()
			print := ssh.FingerprintSHA256(got)
			if got.Type() != kind || seen[kind] != "" && seen[kind] != print {
				t.Errorf("%s, %s: a key of type %s: %s, was %s", round, algorithm, got.Type(), print, seen[kind])
			}
			seen[kind] = print
		}
		for _, action := range []string{"stop", "start"} {
			ok[map[string]any](c, http.MethodPost, vms+"/mac/exec", map[string]any{"action": action})
		}
	}
}

// TestVariablesOfALogin: what scripts read of who has logged in.
func TestVariablesOfALogin(t *testing.T) {
	c := start(t, devorka.Config{})
	vm := c.deploy("mac", sequoia)
	client := login(t, vm.IP, *vm.SSH)
	if got := sh(t, client, "echo $USER $LOGNAME"); got != "admin admin" {
		t.Errorf("user: %q", got)
	}
	from, port, _ := net.SplitHostPort(client.LocalAddr().String())
	want := from + " " + port + " " + vm.IP + " " + strconv.Itoa(*vm.SSH)
	if got := sh(t, client, "echo $SSH_CONNECTION"); got != want {
		t.Errorf("SSH_CONNECTION %q, want %q", got, want)
	}
	if got := sh(t, client, "echo $SSH_CLIENT"); got != from+" "+port+" "+strconv.Itoa(*vm.SSH) {
		t.Errorf("SSH_CLIENT %q", got)
	}
}

// TestSSHIsAsOnAMac: keys, files and forwarding, as macOS's Remote Login has them.
func TestSSHIsAsOnAMac(t *testing.T) {
	c := start(t, devorka.Config{})
	vm := c.deploy("mac", sequoia)
	client := login(t, vm.IP, *vm.SSH)
	address := net.JoinHostPort(vm.IP, strconv.Itoa(*vm.SSH))

	signer := newSigner(t)
	sh(t, client, "mkdir -p .ssh && echo '"+strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))+"' >>.ssh/authorized_keys")
	dial := func(user string, auth ...ssh.AuthMethod) error {
		conn, err := ssh.Dial("tcp", address, &ssh.ClientConfig{User: user, Auth: auth, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial("admin", ssh.PublicKeys(signer)); err != nil {
		t.Errorf("the key that was put there: %v", err)
	}
	if dial("admin", ssh.PublicKeys(newSigner(t))) == nil || dial("admin", ssh.Password("wrong")) == nil || dial("root", ssh.Password("admin")) == nil {
		t.Error("somebody else was let in")
	}
	if err := dial("admin", ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		return slices.Repeat([]string{"admin"}, len(questions)), nil
	})); err != nil {
		t.Errorf("keyboard-interactive: %v", err)
	}

	files, err := sftp.NewClient(client)
	if err != nil {
		t.Fatal(err)
	}
	f, err := files.Create("by-sftp")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte("content"))
	f.Close()
	files.Close()
	if got := sh(t, client, "cat by-sftp"); got != "content" {
		t.Errorf("sftp: %q", got)
	}

	far, err := client.Listen("tcp", "127.0.0.1:0") // there
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := far.Accept(); err == nil {
			_, _ = conn.Write([]byte("from here"))
			conn.Close()
		}
	}()
	near, err := client.Dial("tcp", far.Addr().String()) // to there, and so back to here
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(near); string(b) != "from here" {
		t.Errorf("forwarded: %q", b)
	}
	client.Close()
	await(t, "nothing listens for a client that has left", func() bool {
		conn, err := net.DialTimeout("tcp", far.Addr().String(), time.Second)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}
