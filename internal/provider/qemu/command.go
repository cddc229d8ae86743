package qemu

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/qemu/guest"
)

// An architecture is how QEMU is called for guests of this computer's kind.
type architecture struct {
	binary  string
	machine string
	console string // the guest's serial console
	kernel  string // Debian package that depends on the kernel
	debian  string // Debian's word for it
	pkg     string // Debian package that holds binary
}

// architectures by GOARCH. The row of arm64 is unverified: no such computer was at hand.
var architectures = map[string]architecture{
	"amd64": {"qemu-system-x86_64", "q35", "ttyS0", "linux-image-cloud-amd64", "amd64", "qemu-system-x86"},
	"arm64": {"qemu-system-aarch64", "virt", "ttyAMA0", "linux-image-cloud-arm64", "arm64", "qemu-system-arm"},
}

func thisArchitecture() (architecture, error) {
	if err := unsupported(); err != nil {
		return architecture{}, err
	}
	a, ok := architectures[runtime.GOARCH]
	if !ok {
		return a, fault.New(fault.ProviderRefused, "qemu: no machines for %s computers", runtime.GOARCH)
	}
	return a, nil
}

// emulator finds the QEMU binary.
func (p *Provider) emulator() (architecture, string, error) {
	a, err := thisArchitecture()
	if err != nil {
		return a, "", err
	}
	name := p.cfg.Binary
	if name == "" {
		name = a.binary
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return a, "", fault.New(fault.ProviderRefused, "qemu: %w", err).
			WithRemedy("Install QEMU: apt-get install %s qemu-utils", a.pkg)
	}
	return a, path, nil
}

// A hardware is what a guest sees of its machine. A saved machine resumes only
// on the same.
type hardware struct {
	Machine   string `json:"machine"`
	Accel     Accel  `json:"accel"`
	CPUs      int    `json:"cpus"`
	MemoryMiB int    `json:"memoryMiB"`
	Console   string `json:"console"`
}

// A memory says what guest memory is made of. The zero memory is plain.
type memory struct {
	file    string // "" for none
	private bool   // changes stay in this process
}

// A start is one call of QEMU.
type start struct {
	hardware
	memory
	kernel      string // path
	initrd      string // path
	disk        string // path of the qcow2 file; "" is an empty disk, of which a guest without a personality reads nothing
	diskBytes   int64  // size of the empty disk
	personality string // path; "" is none yet
	isolated    bool
	listen      string // address of the port that leads to the guest's SSH; "": loopback
	resume      bool   // wait for a saved state
}

// args returns QEMU's arguments for s. Their order is part of the hardware.
func (s start) args() []string {
	machine, cpu, accel := s.Machine, "host", "kvm"
	if s.Accel == AccelTCG {
		cpu, accel = "max", "tcg,thread=multi"
	}
	size := strconv.Itoa(s.MemoryMiB) + "M"
	args := []string{"-nodefaults", "-no-user-config", "-display", "none"}
	if s.file != "" {
		machine += ",memory-backend=ram"
		backend := asJSON(map[string]any{"qom-type": "memory-backend-file", "id": "ram", "size": int64(s.MemoryMiB) << 20, "mem-path": s.file, "share": !s.private})
		args = append(args, "-object", backend)
	}
	args = append(args,
		"-M", machine, "-accel", accel, "-cpu", cpu, "-smp", strconv.Itoa(s.CPUs), "-m", size,
		// A guest that ends itself stays to be asked how: its process is ended by us.
		"-action", "reboot=shutdown,shutdown=pause",
		"-rtc", "base=utc,clock=host",
		"-kernel", s.kernel, "-initrd", s.initrd, "-append", "console="+s.Console+" "+guest.CommandLine,
		"-chardev", fmt.Sprintf("ringbuf,id=console,size=%d", ringSize), "-serial", "chardev:console",
	)
	// A guest is told when this computer's disk is full: stopping it, QEMU's default, looks like a hang.
	for _, node := range []map[string]any{s.diskNode(), s.personalityNode()} {
		args = append(args, "-blockdev", asJSON(node), "-device", fmt.Sprintf("virtio-blk-pci,werror=report,rerror=report,drive=%s", node["node-name"]))
	}
	restrict := "off"
	if s.isolated {
		restrict = "on"
	}
	listen := s.listen
	fill(&listen, loopback)
	args = append(args,
		// Port 0: the kernel finds a free one, so nobody can be faster.
		"-netdev", "user,id=net,restrict="+restrict+",hostfwd=tcp:"+listen+":0-:22",
		"-device", "virtio-net-pci,netdev=net,romfile=")
	if s.resume {
		args = append(args, "-incoming", "defer")
	}
	return args
}

// A machine's disk goes with the machine, so nothing waits until it is safe
// from a power cut; saving an image does.
var noFlush = map[string]any{"no-flush": true}

func (s start) diskNode() map[string]any {
	if s.disk == "" {
		return map[string]any{"node-name": "empty", "driver": "null-co", "size": s.diskBytes, "read-zeroes": true}
	}
	return map[string]any{"node-name": nodeOf(filepath.Base(s.disk)), "driver": "qcow2", "cache": noFlush, "file": map[string]any{"driver": "file", "filename": s.disk, "cache": noFlush}}
}

func (s start) personalityNode() map[string]any {
	if s.personality == "" {
		return map[string]any{"node-name": "nobody", "driver": "null-co", "size": guest.DiskSize, "read-zeroes": true, "read-only": true}
	}
	return map[string]any{"node-name": "personality", "driver": "file", "filename": s.personality, "read-only": true}
}

// asJSON encodes what has no way to fail.
func asJSON(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}
