package wireguard_test

import (
	"net/netip"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach/wireguard"
)

const (
	key  = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
	good = "[Interface]\nPrivateKey = " + key + "\nAddress = 10.9.0.2/24, fd00::2\nDNS = 10.9.0.1, lab.example.com\nMTU=1300\nPostUp = rm -rf /\n" +
		"[Peer]\nPublicKey=" + key + "\nEndpoint = vpn.example.com:51820 # ours\nAllowedIPs = 10.0.0.0/8\nAllowedIPs=fd00::/8\n"
)

func TestParse(t *testing.T) {
	c, err := wireguard.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Addresses) != 2 || c.Addresses[0] != netip.MustParseAddr("10.9.0.2") || len(c.DNS) != 1 || c.MTU != 1300 {
		t.Errorf("%+v", c)
	}
}

func TestMistakesAreNamedAndKeysAreNot(t *testing.T) {
	for what, tt := range map[string]struct{ old, is, says string }{
		"no key":          {"PrivateKey = " + key, "", "has no PrivateKey"},
		"bad key":         {"PrivateKey = " + key, "PrivateKey = hunter2", "line 2: privatekey: want 32 bytes in base64"},
		"no address":      {"Address = 10.9.0.2/24, fd00::2", "", "has no Address"},
		"bad address":     {"Address = 10.9.0.2/24", "Address = 10.9.0.2/99", `line 3: address: "10.9.0.2/99"`},
		"no endpoint":     {"Endpoint = vpn.example.com:51820 # ours", "", "peer 1 has no Endpoint"},
		"no port":         {"vpn.example.com:51820", "vpn.example.com", "line 9: endpoint"},
		"nothing allowed": {"AllowedIPs = 10.0.0.0/8\nAllowedIPs=fd00::/8", "", "peer 1 has no AllowedIPs"},
		"unknown key":     {"MTU=1300", "Mtuu=1300", "line 5: mtuu: is no key of [Interface]"},
		"bad MTU":         {"MTU=1300", "MTU=1", "line 5: mtu: 1: want 576"},
		"unknown section": {"[Peer]", "[Pear]", "want [Interface] or [Peer]"},
		"no peer":         {good[strings.Index(good, "[Peer]"):], "", "has no [Peer]"},
		"no sections":     {"[Interface]\n", "", "stands before any section"},
	} {
		_, err := wireguard.Parse(strings.Replace(good, tt.old, tt.is, 1))
		if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", what, err, tt.says)
		}
		if err != nil && (strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: the error holds a key: %v", what, err)
		}
	}
}

// Whatever the file holds, it is understood or a fault of kind Config.
func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("[Peer]\n=\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := wireguard.Parse(text); err != nil && !fault.Is(err, fault.Config) {
			t.Errorf("fault of kind %s: %v", fault.Of(err), err)
		}
	})
}
