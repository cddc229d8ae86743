package qemu

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// An Accel says what executes the guest's instructions.
type Accel string

// The accelerators. The zero Accel means [AccelAuto].
const (
	AccelAuto Accel = "auto" // KVM if a probe boots a guest on it, else TCG
	AccelKVM  Accel = "kvm"  // the processor itself
	AccelTCG  Accel = "tcg"  // QEMU's translator: works everywhere, about ten times slower
)

// A SnapshotMode says whether machines may start from a booted snapshot.
type SnapshotMode string

// The snapshot modes. The zero SnapshotMode means [SnapshotAuto].
const (
	SnapshotAuto  SnapshotMode = "auto"  // resume where it works, else boot
	SnapshotNever SnapshotMode = "never" // always boot
)

// Config is what a user may say about the provider. Every zero field has a
// default; [Config.Defaults] fills them in.
type Config struct {
	// Binary is the QEMU system emulator, a name to look up or a path; ""
	// takes the one for this computer's architecture.
	Binary string `yaml:"binary,omitempty"`
	// Image is the image of machines whose spec names none: "debian".
	Image string `yaml:"image,omitempty"`
	// CPUs and MemoryMiB are for machines whose spec does not say: 2 and 2048.
	CPUs      int `yaml:"cpus,omitempty"`
	MemoryMiB int `yaml:"memoryMiB,omitempty"`
	// DiskGiB is the size of the file system of images that are built: 20. It
	// takes space on this computer only as far as it is written to.
	DiskGiB  int          `yaml:"diskGiB,omitempty"`
	Accel    Accel        `yaml:"accel,omitempty"`
	Snapshot SnapshotMode `yaml:"snapshot,omitempty"`
	// Isolated cuts machines off from every network: only SSH to them works.
	Isolated bool `yaml:"isolated,omitempty"`
	// Listen is the IPv4 address of this computer on which the machines' SSH ports
	// are opened, 127.0.0.1: one that the machines' users reach. A machine keeps its own.
	Listen string `yaml:"listen,omitempty"`
	// BootTimeout is how long one start may take until SSH answers, "60s". A
	// start that takes longer is killed and tried again, twice.
	BootTimeout time.Duration `yaml:"bootTimeout,omitempty"`
	// Max is how many machines may exist at a time: 16.
	Max int `yaml:"max,omitempty"`
}

// Defaults returns c with its zero fields filled in.
func (c Config) Defaults() Config {
	fill(&c.Image, "debian")
	fill(&c.CPUs, min(2, runtime.NumCPU()))
	fill(&c.MemoryMiB, 2048)
	fill(&c.DiskGiB, 20)
	fill(&c.Accel, AccelAuto)
	fill(&c.Listen, loopback)
	fill(&c.Snapshot, SnapshotAuto)
	fill(&c.BootTimeout, time.Minute)
	fill(&c.Max, 16)
	return c
}

const loopback = "127.0.0.1"

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Check tells what is wrong with c, as a fault of kind Config.
func (c Config) Check() error {
	c = c.Defaults()
	if err := checkSize(c.CPUs, c.MemoryMiB); err != nil {
		return fault.New(fault.Config, "qemu: %w", err)
	}
	if err := errors.Join(within("diskGiB", c.DiskGiB, minDiskGiB, 1<<14), within("max", c.Max, 1, 10000)); err != nil {
		return fault.New(fault.Config, "qemu: %w", err)
	}
	if c.BootTimeout < time.Second {
		return fault.New(fault.Config, "qemu: bootTimeout: %s is shorter than a second", c.BootTimeout)
	}
	if ip, err := netip.ParseAddr(c.Listen); err != nil || !ip.Is4() || ip.IsUnspecified() || ip.IsMulticast() {
		return fault.New(fault.Config, "qemu: listen: %q is not an IPv4 address of this computer", c.Listen).
			WithRemedy("Give one address that the machines' users reach, as `ip address` shows it: they are told that very address.")
	}
	switch c.Accel {
	case AccelAuto, AccelKVM, AccelTCG:
	default:
		return fault.New(fault.Config, "qemu: accel: %q is none of auto, kvm, tcg", c.Accel)
	}
	switch c.Snapshot {
	case SnapshotAuto, SnapshotNever:
	default:
		return fault.New(fault.Config, "qemu: snapshot: %q is none of auto, never", c.Snapshot)
	}
	if err := checkImageName(c.Image); err != nil {
		return fault.New(fault.Config, "qemu: image: %w", err)
	}
	return nil
}

// The least that the debian image works with: gcc on a 256 MiB machine is
// killed for want of memory, and the file system itself holds about 500 MB.
const (
	minMemoryMiB = 256
	minDiskGiB   = 2
)

// checkSize tells whether a machine of that size can be.
func checkSize(cpus, memoryMiB int) error {
	return errors.Join(within("cpus", cpus, 1, 255), within("memoryMiB", memoryMiB, minMemoryMiB, 1<<22))
}

func within(key string, value, least, most int) error {
	if value < least || value > most {
		return fmt.Errorf("%s: %d is not in %d to %d", key, value, least, most)
	}
	return nil
}

// checkImageName keeps image names fit to be folder names.
func checkImageName(name string) error {
	if !imageName.MatchString(name) {
		return fmt.Errorf("image name %q: want at most 63 of a-z, 0-9, \".\", \"_\" and \"-\", starting with a letter or digit", name)
	}
	return nil
}
