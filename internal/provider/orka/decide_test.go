package orka

import (
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka/orkaapi"
)

func TestVMNamesSayWhoseTheyAre(t *testing.T) {
	vm := vmName("mac-7k2q", "k8s-1234-xcode")
	if name, ok := nameOf(vm); name != "mac-7k2q" || !ok {
		t.Errorf("nameOf(%s) = %q, %v", vm, name, ok)
	}
	if !owned(vm, "k8s-1234-xcode") || owned(vm, "k8s-1234-other") {
		t.Errorf("%s: whose is it?", vm)
	}
	if vmName("mac-7k2q", "other") == vm || vmName("mac-7k2r", "k8s-1234-xcode") == vm {
		t.Error("two machines have VMs of one name")
	}
	for _, theirs := range []string{"", "mac", "mac-7k2q", "vm-cznfv", "mac-7k2q-abcdefghij", strings.Repeat("a", 63), vm + "a", "x" + vm} {
		if name, ok := nameOf(theirs); ok {
			t.Errorf("nameOf(%q) = %q: it is not ours", theirs, name)
		}
	}
	if long := vmName(machine.Name(strings.Repeat("m", maxName)), "o"); len(long) != 63 || checkName("orka", machine.Name(strings.Repeat("m", maxName))) != nil {
		t.Errorf("the longest name gives %d characters", len(long))
	}
	for _, bad := range []machine.Name{"", "9mac", machine.Name(strings.Repeat("m", maxName+1)), "Mac"} {
		if err := checkName("orka", bad); !fault.Is(err, fault.ProviderRefused) {
			t.Errorf("checkName(%q): %v", bad, err)
		}
	}
}

func TestJudge(t *testing.T) {
	c := Config{CapacityWait: 30 * time.Second, DeployTimeout: 15 * time.Minute, BootTimeout: 5 * time.Minute}
	none, some := room{known: true}, room{known: true, some: true}
	pending, placed := orkaapi.VM{Phase: orkaapi.Pending}, orkaapi.VM{Phase: orkaapi.Pending, Node: "mini-1"}
	running := orkaapi.VM{Phase: orkaapi.Running}
	for _, tt := range []struct {
		name      string
		scene     scene
		reachable bool
		want      verdict
	}{
		{"just asked for", scene{vm: pending, room: none}, false, wait},
		{"no room for half a minute", scene{vm: pending, pending: 30 * time.Second, room: none}, false, full},
		{"the nodes cannot be asked", scene{vm: pending, pending: time.Minute}, false, wait},
		{"the nodes seem to have room", scene{vm: pending, pending: 4 * time.Minute, room: some}, false, wait},
		{"the nodes seem to have room, and nothing comes of it", scene{vm: pending, pending: 5 * time.Minute, room: some}, false, full},
		{"its image is being fetched", scene{vm: placed, waited: 10 * time.Minute, room: none}, false, wait},
		{"its image takes too long", scene{vm: placed, waited: 15 * time.Minute}, false, late},
		{"the server has given up on one without a node", scene{vm: pending, ended: true}, false, full},
		{"the server has given up on one that has a node", scene{vm: placed, ended: true}, false, late},
		{"it runs", scene{vm: running}, true, up},
		{"it runs and has no address yet", scene{vm: running, running: time.Minute}, false, wait},
		{"it runs and never gets an address", scene{vm: running, running: 5 * time.Minute}, false, addressless},
		{"it has failed", scene{vm: orkaapi.VM{Phase: orkaapi.Failed}}, false, broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.scene, tt.reachable, c); got != tt.want {
				t.Errorf("got verdict %d, want %d", got, tt.want)
			}
		})
	}
}

func TestRoom(t *testing.T) {
	ready := func(name string, cpu int, tags ...string) orkaapi.Node {
		return orkaapi.Node{Name: name, CPU: cpu, Ready: true, Tags: tags}
	}
	on := func(nodes ...string) (vms []orkaapi.VM) {
		for _, n := range nodes {
			vms = append(vms, orkaapi.VM{Node: n})
		}
		return vms
	}
	for _, tt := range []struct {
		name  string
		nodes []orkaapi.Node
		vms   []orkaapi.VM
		need  need
		want  string // "": there is room
	}{
		{"room", []orkaapi.Node{ready("a", 2), ready("b", 8)}, nil, need{cpu: 4}, ""},
		{"the default is three", []orkaapi.Node{ready("a", 3)}, nil, need{}, ""},
		{"too few CPUs", []orkaapi.Node{ready("a", 2), ready("b", 3)}, nil, need{cpu: 4}, "none of 2 nodes of namespace orka-x has room for a VM of 4 CPUs"},
		{"two on a Mac", []orkaapi.Node{ready("a", 8)}, on("a", "a"), need{arm: true}, "none of 1 nodes of namespace orka-x has room for a VM of 3 CPUs"},
		{"two on an Intel host", []orkaapi.Node{ready("a", 8)}, on("a", "a"), need{}, ""},
		{"no nodes", nil, nil, need{}, "namespace orka-x has no nodes"},
		{"none ready", []orkaapi.Node{{Name: "b"}, {Name: "a"}}, nil, need{}, "no nodes of namespace orka-x is ready: a, b"},
		{"another node", []orkaapi.Node{ready("a", 8)}, nil, need{node: "b"}, "namespace orka-x has no node b"},
		{"no such tag", []orkaapi.Node{ready("a", 8, "x")}, nil, need{tag: "y"}, "namespace orka-x has no nodes with the tag y"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := roomFor(tt.nodes, tt.vms, "orka-x", tt.need)
			if !r.known || r.words != tt.want || r.some != (tt.want == "") {
				t.Errorf("got %+v, want %q", r, tt.want)
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    evidence
		c    Config
		want likeness
	}{
		{"it knows its name", evidence{self: "vm-a", twin: "vm-b"}, Config{}, isProven},
		{"it has another name", evidence{self: "vm-b"}, Config{}, isWrong},
		{"it has the host key of another VM", evidence{twin: "vm-b"}, Config{}, isWrong},
		{"all VMs have that host key", evidence{twin: "vm-b"}, Config{FixedHostKey: true}, isUnproven},
		{"two VMs are said to be at one address", evidence{double: "vm-b"}, Config{}, isWrong},
		{"nothing is known", evidence{}, Config{}, isUnproven},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, why := identify("vm-a", tt.e, tt.c)
			if got != tt.want || (why != "") != (got == isWrong) {
				t.Errorf("got %d, %q; want %d", got, why, tt.want)
			}
		})
	}
}

func TestNamesFromAMetadataService(t *testing.T) {
	for answer, want := range map[string]string{
		"vm-cznfv\n":                   "vm-cznfv",
		`"vm-cznfv"`:                   "vm-cznfv",
		`{"orka_vm_name": "vm-cznfv"}`: "vm-cznfv",
		`{"value": "vm-cznfv"}`:        "vm-cznfv",
		"":                             "",
		"<html>404 - Not Found</html>": "",
		`{"other": 1}`:                 "",
	} {
		if got := nameIn(answer); got != want {
			t.Errorf("nameIn(%q) = %q, want %q", answer, got, want)
		}
	}
}

func TestWhereAVMIsReached(t *testing.T) {
	nat := orkaapi.VM{Phase: orkaapi.Running, Host: "10.221.189.13", SSH: 8822}
	bridge := orkaapi.VM{Phase: orkaapi.Running, Host: "10.0.7.9", Bridged: true}
	for _, tt := range []struct {
		name string
		c    Config
		vm   orkaapi.VM
		want string // "": nowhere yet
	}{
		{"the node's address and a mapped port", Config{}, nat, "10.221.189.13:8822"},
		{"a public address", Config{Addresses: map[string]string{"10.221.189.13": "mac.example.com"}}, nat, "mac.example.com:8822"},
		{"no port yet", Config{}, orkaapi.VM{Phase: orkaapi.Running, Host: "10.221.189.13"}, ""},
		{"its own address", Config{}, bridge, "10.0.7.9:22"},
		{"its own address, as REST says it", Config{Network: NetworkBridge}, orkaapi.VM{Phase: orkaapi.Running, Host: "10.0.7.9"}, "10.0.7.9:22"},
		{"its own address and port", Config{Network: NetworkBridge}, orkaapi.VM{Phase: orkaapi.Running, Host: "10.0.7.9", SSH: 2222}, "10.0.7.9:2222"},
		{"bridge mode is not wanted", Config{Network: NetworkNAT}, bridge, ""},
		{"it does not run yet", Config{}, orkaapi.VM{Phase: orkaapi.Pending, Host: "10.221.189.13", SSH: 8822}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ep, ok := (&Provider{cfg: tt.c.Defaults()}).endpoint(tt.vm)
			got := ""
			if ok {
				got = ep.Address()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
