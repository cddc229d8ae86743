package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"outrigger.dev/outrigger/internal/provider/qemu/guest"
)

// kvmDevice is there where KVM may work.
const kvmDevice = "/dev/kvm"

// kvmProbe is how long a guest may take to reach its personality with KVM. It
// takes half a second on a quiet computer; on one whose KVM does not suit the
// guest's kernel, QEMU refuses or the guest computes without a word.
const kvmProbe = 20 * time.Second

// identify names a QEMU build: what a program wrote with another one, a saved
// state above all, is not for it.
func identify(binary string) (string, error) {
	path, err := filepath.EvalSymlinks(binary)
	if err != nil {
		return "", localFile(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return "", localFile(err)
	}
	return fmt.Sprintf("%s %d %d", path, fi.Size(), fi.ModTime().UnixNano()), nil
}

// accel decides what executes guests. That KVM's device is there says little:
// on some hosts a guest on it hangs. So one is booted, once for each QEMU,
// kernel of this computer and kernel of the guest. boot is a folder that holds
// the latter.
func (p *Provider) accel(ctx context.Context, arch architecture, binary, emulator, boot string) (Accel, error) {
	if p.cfg.Accel != AccelAuto {
		return p.cfg.Accel, nil
	}
	device, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	if err != nil {
		return AccelTCG, nil //nolint:nilerr // no KVM for this user is an answer, not a failure
	}
	device.Close()
	key, err := kvmKey(emulator, boot)
	if err != nil {
		return "", err
	}
	l, err := acquire(ctx, p.path("accel.lock"))
	if err != nil {
		return "", err
	}
	defer l.release()
	verdicts := map[string]Accel{}
	if err := readJSON(p.path(accelFile), &verdicts); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if a, ok := verdicts[key]; ok {
		return a, nil
	}
	a := AccelKVM
	if why := p.probeKVM(ctx, arch, binary, boot); why != nil {
		if ctx.Err() != nil {
			return "", why
		}
		p.log.Warn("kvm is there but no guest boots on it, emulating instead", "error", why)
		a = AccelTCG
		if errors.Is(why, errNotInTime) {
			return a, nil // the computer may have been busy: no verdict
		}
	}
	// Verdicts on other builds are worth nothing: there is one of each here.
	return a, writeJSON(p.path(accelFile), map[string]Accel{key: a})
}

func kvmKey(emulator, boot string) (string, error) {
	kernel, err := os.ReadFile("/proc/version")
	if err != nil {
		return "", localFile(err)
	}
	guest, err := bootKey(boot)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(kernel, "%s\n%s", emulator, guest))
	return hex.EncodeToString(sum[:]), nil
}

// probeKVM boots a guest as far as its personality.
func (p *Provider) probeKVM(ctx context.Context, arch architecture, binary, boot string) (err error) {
	d, err := p.draft(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.endDraft(ctx, d)) }()
	s := start{
		hardware: hardware{arch.machine, AccelKVM, 1, minMemoryMiB, arch.console},
		kernel:   filepath.Join(boot, kernelFile), initrd: filepath.Join(boot, initrdFile),
		diskBytes: guest.DiskSize, isolated: true,
	}
	return p.bootOnce(ctx, vm{d.dir, p.log}, binary, s, min(kvmProbe, p.cfg.BootTimeout))
}
