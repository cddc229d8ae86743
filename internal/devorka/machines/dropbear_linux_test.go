package machines

import (
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/provider/qemu/guest"
	"outrigger.dev/outrigger/test/macshell"
)

// The server that a virtual machine's login is made with, started as in the machine, takes clients that want one kind of host
// key, and those of x/crypto by their own order. With the ed25519 key alone Dropbear offers RSA and hangs up.
func TestServerOfAVirtualMachineHasHostKeysOfEachKind(t *testing.T) {
	if _, err := exec.LookPath("dropbear"); err != nil {
		t.Skipf("not installed: %v", err)
	}
	m := macshell.Start(t, macshell.Options{Linux: true})
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m.Write("run/outrigger/host_key", string(guest.HostKey(key)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	// As on a machine that is new: the login is not there.
	m.Do("userdel -r admin 2>/dev/null; rm -rf /Users/admin; " + strings.ReplaceAll(prepare, "127.0.0.1:"+qemuPort, "127.0.0.1:"+port))
	for _, algorithms := range [][]string{
		nil, {ssh.KeyAlgoED25519}, {ssh.KeyAlgoRSASHA256, ssh.KeyAlgoED25519}, {ssh.KeyAlgoRSASHA256}, {ssh.KeyAlgoECDSA256},
	} {
		var shown ssh.PublicKey
		config := &ssh.ClientConfig{
			User: "admin", Auth: []ssh.AuthMethod{ssh.Password("admin")}, HostKeyAlgorithms: algorithms, Timeout: time.Minute,
			HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error { shown = k; return nil },
		}
		c := dial(t, address, config)
		if c == nil {
			t.Errorf("host keys %v: no login", algorithms)
			continue
		}
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := s.Output("id -un; cd /Users/admin && pwd -P"); err != nil || string(out) != "admin\n/home/admin\n" {
			t.Errorf("host key %s: %q, %v", shown.Type(), out, err)
		}
		if algorithms != nil && !strings.Contains(strings.Join(algorithms, " ")+" ssh-rsa", shown.Type()) {
			t.Errorf("wanted %v, got %s", algorithms, shown.Type())
		}
		c.Close()
	}
}

// dial logs in as soon as the server listens, which it does not yet when its first process has ended.
func dial(t *testing.T, address string, config *ssh.ClientConfig) *ssh.Client {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := ssh.Dial("tcp", address, config)
		if err == nil {
			return c
		}
		if time.Now().After(deadline) || !strings.Contains(err.Error(), "connection refused") {
			t.Logf("%s: %v", address, err)
			return nil
		}
	}
}
