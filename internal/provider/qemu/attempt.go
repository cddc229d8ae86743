package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/qemu/guest"
)

// bootTries is how often a guest is started before it is given up.
const bootTries = 3

// bring makes the machine of r run, whatever an earlier client left of it.
func (p *Provider) bring(ctx context.Context, r record, arch architecture, binary string) (record, error) {
	v := p.vmOf(r.Name)
	if err := v.stop(ctx); err != nil {
		return r, err
	}
	emulator, err := identify(binary)
	if err != nil {
		return r, err
	}
	accel, err := p.accel(ctx, arch, binary, emulator, v.dir)
	if err != nil {
		return r, err
	}
	s := start{
		hardware: hardware{arch.machine, accel, r.CPUs, r.MemoryMiB, arch.console},
		kernel:   v.path(kernelFile), initrd: v.path(initrdFile),
		personality: v.path(personalityFile), isolated: p.cfg.Isolated, listen: r.Listen,
	}
	tries := make([]attempt, 0, bootTries+1)
	if p.cfg.Snapshot == SnapshotAuto {
		saved, err := p.snapshotFor(ctx, binary, v, snapshot{Hardware: s.hardware, Disk: r.Disk, Emulator: emulator})
		if err != nil {
			p.log.Warn("no saved guest, booting instead", "machine", r.Name, "error", err)
		} else {
			tries = append(tries, attempt{start: s, from: &saved})
		}
	}
	for range bootTries {
		tries = append(tries, attempt{start: s})
	}
	for _, a := range tries {
		if err := p.stillWanted(r.Name); err != nil {
			return r, err
		}
		if r, err = p.attempt(ctx, v, r, binary, a); err == nil {
			return r, nil
		}
		tail, stopped := v.giveUp(ctx)
		if stopped != nil || ctx.Err() != nil {
			return r, errors.Join(err, stopped)
		}
		p.log.Warn("machine did not start", "machine", r.Name, "resumed", a.from != nil, "error", err)
		if a.from == nil && fault.Of(err) != fault.Internal {
			return r, err // it would not start the next time either
		}
		err = fault.New(fault.BootTimeout, "%s: machine %s: %w", p.name, r.Name, err).WithDetail(tail)
	}
	return r, err
}

// giveUp ends what did not start, also after ctx ended, and returns what the
// guest said last.
func (v vm) giveUp(ctx context.Context) (tail string, err error) {
	ctx = context.WithoutCancel(ctx)
	asking, cancel := context.WithTimeout(ctx, askState)
	defer cancel()
	tail, err = v.consoleTail(asking, maxTail)
	return tail, errors.Join(err, v.stop(ctx))
}

// snapshotFor finds the saved guest that boots what the machine boots.
func (p *Provider) snapshotFor(ctx context.Context, binary string, v vm, want snapshot) (snapshot, error) {
	boot, err := bootKey(v.dir)
	if err != nil {
		return want, err
	}
	want.Boot = boot
	return p.snapshot(ctx, binary, v.dir, want)
}

// An attempt is one way to start a machine.
type attempt struct {
	start
	from *snapshot // nil: boot
}

// attempt makes the machine as if for the first time, with a disk that nobody
// wrote to, and waits until its SSH server greets.
func (p *Provider) attempt(ctx context.Context, v vm, r record, binary string, a attempt) (record, error) {
	started := time.Now()
	limit := p.cfg.BootTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, tooLate(limit))
	defer cancel()
	if err := v.clear(r); err != nil {
		return r, err
	}
	top := newLayer()
	if err := addLayer(ctx, v.dir, r.Layers[len(r.Layers)-1], top); err != nil {
		return r, err
	}
	a.disk = v.path(top)
	hostKey, err := p.personify(v, r)
	if err != nil {
		return r, err
	}
	if a.from != nil {
		a.resume, a.memory = true, memory{file: filepath.Join(a.from.dir, memoryFile), private: true}
	}
	if err := v.start(ctx, binary, a.args()); err != nil {
		return r, err
	}
	m, err := v.monitor(ctx)
	if err != nil {
		return r, err
	}
	defer m.Close()
	if a.from != nil {
		if err := a.from.load(ctx, m); err != nil {
			if ctx.Err() == nil {
				err = errors.Join(err, a.from.markBroken())
			}
			return r, err
		}
	}
	port, err := sshPort(ctx, m)
	if err != nil {
		return r, err
	}
	if err := v.awaitLine(ctx, m, guest.Up); err != nil {
		return r, err
	}
	if err := awaitBanner(ctx, r.address(port)); err != nil {
		return r, err
	}
	r.Phase, r.Port, r.HostKey = ready, port, hostKey
	if err := p.settle(ctx, r); err != nil {
		return r, err
	}
	p.log.Info("machine started", "machine", r.Name, "resumed", a.from != nil, "accel", a.Accel, "took", time.Since(started))
	return r, nil
}

// settle stores that the machine is there, unless somebody deletes it.
func (p *Provider) settle(ctx context.Context, r record) error {
	l, err := p.hold(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	if err := p.stillWanted(r.Name); err != nil {
		return err
	}
	return p.store(r)
}

func (p *Provider) stillWanted(name machine.Name) error {
	r, err := p.load(name)
	if fault.Is(err, fault.UnknownMachine) || (err == nil && r.Phase == deleting) {
		return errGone
	}
	return err
}

// clear removes what an earlier attempt made.
func (v vm) clear(r record) error {
	keep := map[string]bool{recordFile: true, lockFile: true, aliveFile: true, kernelFile: true, initrdFile: true}
	for _, layer := range r.Layers {
		keep[layer] = true
	}
	names, err := entries(v.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if keep[name] {
			continue
		}
		if err := os.Remove(v.path(name)); err != nil {
			return localFile(err)
		}
	}
	return nil
}
