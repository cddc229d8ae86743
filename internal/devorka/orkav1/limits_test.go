package orkav1_test

import (
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/devorka/orkav1"
)

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"vm-1": true, "a": true, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false,
		"": false, "1vm": false, "VM": false, "a.b": false, "a-": false, "a_b": false,
	} {
		if err := orkav1.VMName(name); (err == nil) != good {
			t.Errorf("VM %q: %v", name, err)
		}
	}
	for name, good := range map[string]bool{"90gbventurassh.img": true, "Sonoma": false, "": false, "-a": false, strings.Repeat("a", 64): false} {
		if err := orkav1.ImageName(name); (err == nil) != good {
			t.Errorf("image %q: %v", name, err)
		}
	}
	if orkav1.ConfigName(strings.Repeat("a", 50)) != nil || orkav1.ConfigName(strings.Repeat("a", 51)) == nil {
		t.Error("a VM config's name has at most 50 characters")
	}
}

func TestPorts(t *testing.T) {
	got, err := orkav1.ParsePorts("1337:3000, 53:53/udp,8080:80/tcp")
	want := []orkav1.Mapping{{Node: 1337, VM: 3000}, {Node: 53, VM: 53, UDP: true}, {Node: 8080, VM: 80}}
	if err != nil || len(got) != len(want) {
		t.Fatal(got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	for _, bad := range []string{"80", "80:", "0:80", "80:65536", "a:b", "80:80:80", "80:80/sctp", "80:1,80:2", "80:80,"} {
		if got, err := orkav1.ParsePorts(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func FuzzPorts(f *testing.F) {
	f.Add("1337:3000,53:53/udp")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := orkav1.ParsePorts(s)
		for _, m := range got {
			if err == nil && (m.Node < 1 || m.Node > 65535 || m.VM < 1 || m.VM > 65535) {
				t.Errorf("%q: %+v", s, m)
			}
		}
	})
}

// TestMemory: the documentation's own example is 4.80Gi for 3 cores.
func TestMemory(t *testing.T) {
	seven := 7.25
	for _, tt := range []struct {
		spec orkav1.VMSpec
		want string
	}{{orkav1.VMSpec{CPU: 3}, "4.80Gi"}, {orkav1.VMSpec{CPU: 4, Memory: &seven}, "7.30Gi"}} {
		if got := orkav1.Gi(orkav1.MemoryGiB(tt.spec)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}
