package operator_test

import (
	"testing"

	"outrigger.dev/outrigger/internal/devorka/operator"
)

func TestPlace(t *testing.T) {
	host := func(name string, change func(*operator.Host)) operator.Host {
		h := operator.Host{Name: name, Namespace: "orka-default", Arch: "arm64", Ready: true, FreeCPUs: 8, FreeGiB: 16}
		if change != nil {
			change(&h)
		}
		return h
	}
	vms := func(n int) func(*operator.Host) { return func(h *operator.Host) { h.VMs, h.FreeCPUs = n, 8-3*n } }
	tagged := func(h *operator.Host) { h.Tags = []string{"ci"}; h.FreeCPUs = 4 }
	for _, tt := range []struct {
		name      string
		demand    operator.Demand
		hosts     []operator.Host
		want, why string
	}{
		{"the emptier of two", operator.Demand{}, []operator.Host{host("a", vms(1)), host("b", nil)}, "b", ""},
		{"the fuller of two, if packed", operator.Demand{Packed: true}, []operator.Host{host("a", nil), host("b", vms(1))}, "b", ""},
		{
			"none of two that run two each", operator.Demand{}, []operator.Host{host("a", vms(2)), host("b", vms(2))},
			"", "No nodes available: each runs as many VMs as it may",
		},
		{
			"an Intel node runs more than two", operator.Demand{Arch: "amd64"},
			[]operator.Host{host("a", func(h *operator.Host) { h.Arch, h.VMs = "amd64", 2 })}, "a", "",
		},
		{"the tagged one, though it is fuller", operator.Demand{Tag: "ci"}, []operator.Host{host("a", nil), host("b", tagged)}, "b", ""},
		{"another, if the tag is not required", operator.Demand{Tag: "ci", CPUs: 6}, []operator.Host{host("a", nil), host("b", tagged)}, "a", ""},
		{
			"none, if it is", operator.Demand{Tag: "ci", TagRequired: true}, []operator.Host{host("a", nil)},
			"", "No nodes available with the required tag",
		},
		{"the one that is named", operator.Demand{Node: "a"}, []operator.Host{host("a", vms(1)), host("b", nil)}, "a", ""},
		{"none that has the cores", operator.Demand{CPUs: 9}, []operator.Host{host("a", nil)}, "", "Not enough CPU available"},
		{"none that has the memory", operator.Demand{MemoryGiB: 17}, []operator.Host{host("a", nil)}, "", "Not enough memory available"},
		{
			"none of another namespace, none that is not ready", operator.Demand{}, []operator.Host{
				host("a", func(h *operator.Host) { h.Namespace = "orka-team" }), host("b", func(h *operator.Host) { h.Ready = false }),
			}, "", "No nodes available in namespace",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.demand
			d.Namespace = "orka-default"
			if d.Arch == "" {
				d.Arch = "arm64"
			}
			if d.CPUs == 0 {
				d.CPUs = 2
			}
			if got, why := operator.Place(d, tt.hosts); got != tt.want || why != tt.why {
				t.Errorf("got %q, %q; want %q, %q", got, why, tt.want, tt.why)
			}
		})
	}
}
