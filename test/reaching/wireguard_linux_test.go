package reaching

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// The addresses inside of the tunnel.
const (
	farEnd  = "10.79.0.1"
	nearEnd = "10.79.0.2"
)

// wireguard starts a peer in the private network, wireguard-go with a device of
// its own, and returns the configuration with which it is reached.
func (s *site) wireguard() string {
	s.t.Helper()
	for _, program := range []string{"wireguard-go", "wg"} {
		if _, err := exec.LookPath(program); err != nil {
			s.t.Skipf("no %s here", program)
		}
	}
	key := func() (private, public string) {
		private = s.must(s.private, "wg", "genkey")
		cmd := s.command(s.private, "wg", "pubkey")
		cmd.Stdin = strings.NewReader(private)
		out, err := cmd.Output()
		if err != nil {
			s.t.Fatal(err)
		}
		return private, strings.TrimSpace(string(out))
	}
	farPrivate, farPublic := key()
	nearPrivate, nearPublic := key()
	shared := s.must(s.private, "wg", "genpsk")
	s.start(s.private, "wireguard-go", "-f", device)
	await(s.t, "the device is there", func() bool { return s.command(s.private, "ip", "link", "show", device).Run() == nil })
	await(s.t, "the peer takes settings", func() bool {
		return s.command(s.private, "wg", "set", device, "listen-port", "51820", "private-key", s.file("far.key", farPrivate),
			"peer", nearPublic, "preshared-key", s.file("psk", shared), "allowed-ips", nearEnd+"/32").Run() == nil
	})
	s.must(s.private, "ip", "addr", "add", farEnd+"/24", "dev", device)
	s.must(s.private, "ip", "link", "set", device, "up")
	return fmt.Sprintf(`[Interface]
PrivateKey = %s # ours
Address = %s/24
MTU = 1380
PostUp = false

[Peer]
PublicKey = %s
PresharedKey = %s
Endpoint = %s:51820
AllowedIPs = %s/24, 10.77.0.0/24
PersistentKeepalive = 25
`, nearPrivate, nearEnd, farPublic, shared, edge, farEnd[:len(farEnd)-1]+"0")
}

// device is the name of the peer's device, whose socket lies beside those of
// other tests: they do not run at once.
const device = "wgoutrigger"

func TestWireGuard(t *testing.T) {
	s := newSite(t)
	conf := s.wireguard()
	good := s.file("good.conf", conf)
	s.works(s.config(inside, fmt.Sprintf("[{wireguard: %q}]", good)))
	s.refuses(s.config("10.1.1.1", fmt.Sprintf("[{wireguard: %q}]", good)), "RouteRefused", "10.1.1.1 is in no peer's AllowedIPs")
	deaf := s.file("deaf.conf", strings.Replace(conf, ":51820", ":51821", 1))
	s.refuses(s.config(inside, fmt.Sprintf("[{wireguard: %q}]", deaf)), "Unreachable", "no peer has answered so far")
	s.refuses(s.config(inside, fmt.Sprintf("[{url: socks5://h:1}, {wireguard: %q}]", good)), "Config", "can only be the first step")
	s.refuses(s.config(inside, fmt.Sprintf("[{wireguard: %q}]", s.file("bad.conf", "[Interface]\nPrivateKey = secret\n"))), "Config", "line 2: privatekey: want 32 bytes in base64")
}
