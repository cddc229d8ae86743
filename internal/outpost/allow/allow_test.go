package allow_test

import (
	"net/netip"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/outpost/allow"
)

func TestAllows(t *testing.T) {
	list := []string{"10.1.0.0/16:22,8822-8830", "192.168.7.9:443", "[fd00::/8]:22", "fd01::5:80", "*.orka.example.com:443", "mini:*"}
	l, err := allow.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"10.1.2.3:22": true, "10.1.2.3:8822": true, "10.1.255.255:8830": true,
		"10.1.2.3:23": false, "10.1.2.3:8831": false, "10.2.0.1:22": false,
		"192.168.7.9:443": true, "192.168.7.9:80": false, "192.168.7.8:443": false,
		"[fd00::1]:22": true, "[fe80::1]:22": false, "[fd01::5]:80": true,
		"[::ffff:10.1.2.3]:22":   true, // the same address, written as IPv6
		"a.orka.example.com:443": true, "A.B.Orka.Example.Com.:443": true,
		"orka.example.com:443": false, "evilorka.example.com:443": false, "a.orka.example.com:22": false,
		"mini:1": true, "mini.:65535": true, "MINI:22": true, "mini2:22": false, "0.0.0.0:22": false,
	} {
		a, err := allow.ParseAddress(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if got := l.Allows(a); got != want {
			t.Errorf("%s allowed: %v, want %v", address, got, want)
		}
	}
	if !l.AllowsIP(netip.MustParseAddr("10.1.9.9"), 22) || l.AllowsIP(netip.MustParseAddr("10.3.9.9"), 22) {
		t.Error("an address that a name leads to is judged otherwise than one that was asked for")
	}
	if (allow.List{}).Allows(allow.Address{Host: "10.1.2.3", Port: 22}) {
		t.Error("an empty list allows something")
	}
	all, err := allow.Parse([]string{"*:22"})
	if err != nil || !all.Allows(allow.Address{Host: "x", Port: 22}) || !all.Allows(allow.Address{Host: "::1", Port: 22}) || all.Allows(allow.Address{Host: "x", Port: 23}) {
		t.Errorf("*:22: %v, %v", all, err)
	}
}

func TestMistakesOfLists(t *testing.T) {
	for entry, says := range map[string]string{
		"10.1.2.3":       "want HOST:PORTS",
		"":               "want HOST:PORTS",
		":22":            "want HOST:PORTS",
		"10.1.2.3/16:22": "has bits behind its length: want 10.1.0.0/16",
		"10.1.2.3:":      `ports ""`,
		"10.1.2.3:0":     `ports "0"`,
		"10.1.2.3:70000": `ports "70000"`,
		"10.1.2.3:9-8":   `ports "9-8"`,
		"10.1.2.3:22,":   `ports ""`,
		"a*b:22":         "is no address",
		"10.1.0.0/33:22": "is no address",
		"*.:22":          "is no address",
	} {
		if _, err := allow.Parse([]string{entry}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", entry, err, says)
		}
	}
	for _, a := range []string{"", "x", "x:", ":22", "x:0", "x:65536", "x:ssh", "::1:22"} {
		if got, err := allow.ParseAddress(a); err == nil {
			t.Errorf("address %q: %v, want an error", a, got)
		}
	}
}

// What is allowed is never more than one of the entries alone allows.
func FuzzAllows(f *testing.F) {
	f.Add("10.0.0.0/8:22", "*.a:1-5", "10.1.1.1:22")
	f.Fuzz(func(t *testing.T, one, two, address string) {
		a, err := allow.ParseAddress(address)
		if err != nil {
			return
		}
		both, err := allow.Parse([]string{one, two})
		if err != nil {
			return
		}
		first, err := allow.Parse([]string{one})
		if err != nil {
			t.Fatal(err)
		}
		second, err := allow.Parse([]string{two})
		if err != nil {
			t.Fatal(err)
		}
		if both.Allows(a) != (first.Allows(a) || second.Allows(a)) {
			t.Errorf("%q and %q about %q", one, two, address)
		}
	})
}
