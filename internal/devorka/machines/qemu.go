package machines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/reach"
)

// Qemu makes virtual machines with the images of the provider qemu of this
// installation. What it makes there carries the cluster's folder as its owner, so
// that what a killed cluster left is told from what a live one has.
type Qemu struct {
	p     *qemu.Provider
	owner machine.Owner
	log   *slog.Logger
}

const (
	qemuProvider = "dev-orka"
	qemuPrefix   = "orka-"
	// qemuPort is where the guest's second SSH server listens, the one that takes the
	// password: the first takes keys alone, and ours at that.
	qemuPort = "2222"
	// passwordHash is that of "admin", SHA-512.
	passwordHash = "$6$outrigger$UTcxYwgIyjqGqEsU001a9TcaKsoVwL5sF3hyGOH3sJMHPjdzELBwhORNqCaIPi7XjWoBJ6sb8DrLimDd/c0aP0"
	// minMemory is the least that the guests work with.
	minMemory = 512
)

// NewQemu returns the place of the cluster in dir, with the images of state.
func NewQemu(dir, state string, log *slog.Logger) (*Qemu, error) {
	p, err := qemu.New(qemuProvider, qemu.Config{Max: 1000}, state, log)
	if err != nil {
		return nil, err
	}
	return &Qemu{p: p, owner: machine.Owner(dir), log: log}, nil
}

// Create implements [Place].
func (q *Qemu) Create(ctx context.Context, spec Spec) (Machine, error) {
	image := string(spec.Disk)
	if image != "" {
		image = qemuPrefix + image
	}
	name := machine.Name(qemuPrefix + spec.Name)
	m, err := q.p.Create(ctx, machine.Spec{
		Name: name, Owner: q.owner, Image: image, CPUs: spec.CPUs, MemoryMiB: max(spec.MemoryMiB, minMemory),
		Labels: map[string]string{"orka": "dev"},
	})
	if err != nil {
		return nil, errors.Join(err, q.p.Delete(context.WithoutCancel(ctx), name))
	}
	v := &qemuMachine{q: q, m: m}
	if err := v.Start(ctx); err != nil {
		return nil, errors.Join(err, v.Delete(context.WithoutCancel(ctx)))
	}
	return v, nil
}

// Attach implements [Place].
func (q *Qemu) Attach(ctx context.Context, spec Spec) (Machine, error) {
	m, err := q.p.Get(ctx, machine.Name(qemuPrefix+spec.Name))
	if err != nil {
		return nil, err
	}
	v := &qemuMachine{q: q, m: m}
	return v, v.Start(ctx)
}

// Copy implements [Place]. Disks of virtual machines are made by saving one.
func (q *Qemu) Copy(context.Context, Disk, Disk) error {
	return errors.New("outrigger dev orka: a disk of a virtual machine is made by saving one, not by copying")
}

// Remove implements [Place]. A disk that others stand on stays until they are gone.
func (q *Qemu) Remove(ctx context.Context, d Disk) error {
	if d == "" {
		return nil
	}
	err := q.p.DeleteImage(ctx, qemuPrefix+string(d))
	if fault.Is(err, fault.UnknownImage) {
		return nil
	}
	return err
}

// Sweep implements [Place]. It also removes what is left of clusters that were killed.
func (q *Qemu) Sweep(ctx context.Context, keep []string) error {
	all, err := q.p.List(ctx, "")
	if err != nil {
		return err
	}
	for _, m := range all {
		mine := m.Owner == q.owner
		if mine && slices.Contains(keep, strings.TrimPrefix(string(m.Name), qemuPrefix)) || !mine && lives(string(m.Owner)) {
			continue
		}
		if err := q.p.Delete(ctx, m.Name); err != nil {
			return err
		}
	}
	return nil
}

// lives tells whether a cluster runs that has its machines in dir: it holds the lock
// beside it.
func lives(dir string) bool {
	path := filepath.Join(filepath.Dir(dir), "lock")
	if _, err := os.Stat(path); err != nil {
		return false
	}
	lock := flock.New(path)
	free, err := lock.TryLock()
	if err == nil && free {
		_ = lock.Close() // of a lock that nobody waits for
	}
	return err != nil || !free
}

// A qemuMachine is reached through one SSH connection of ours, as root.
type qemuMachine struct {
	q *Qemu
	m machine.Machine

	mu     sync.Mutex
	client *reach.Client
}

// prepare makes the login of MacStadium's images and starts the SSH server that takes
// it. What the disk of a saved machine has already is left as it is. Besides the ed25519 key that the machine has, the
// server makes an RSA and an ECDSA key when a client wants one (-R), as a Mac has all three: without them this one
// offers RSA and hangs up when it is taken. They are in memory, so that no saved disk gives them to another machine.
const prepare = `set -e
if ! grep -q '^admin:' /etc/passwd; then
	echo 'admin:x:501:20:admin:/home/admin:/bin/sh' >>/etc/passwd
	echo 'admin:` + passwordHash + `:19000:0:99999:7:::' >>/etc/shadow
	mkdir -p /home/admin
	chown 501:20 /home/admin
fi
if [ ! -e /Users/admin ]; then
	mkdir -p /Users
	ln -s /home/admin /Users/admin
fi
mkdir -p -m 755 /run/orka
mkdir -p -m 700 /run/orka/keys
[ -L /etc/dropbear ] || rm -rf /etc/dropbear
ln -sfn /run/orka/keys /etc/dropbear
if [ -d /etc/sudoers.d ] && [ ! -e /etc/sudoers.d/admin ]; then
	echo 'admin ALL=(ALL) ALL' >/etc/sudoers.d/admin
	chmod 440 /etc/sudoers.d/admin
fi
[ -s /run/orka/pid ] && kill -0 "$(cat /run/orka/pid)" 2>/dev/null && exit 0
exec dropbear -E -w -R -p 127.0.0.1:` + qemuPort + ` -P /run/orka/pid -r /run/outrigger/host_key </dev/null >/dev/null 2>&1
`

// halt ends the server, and all that admin runs.
const halt = `[ -s /run/orka/pid ] && kill "$(cat /run/orka/pid)"
rm -f /run/orka/pid
for p in /proc/[0-9]*; do
	[ "$(stat -c %u "$p" 2>/dev/null)" = 501 ] && kill -KILL "${p#/proc/}"
done
sync
exit 0
`

// bootLimit is how long the guest's SSH server may take, which greets already.
const bootLimit = time.Minute

func (v *qemuMachine) connect(ctx context.Context) (*reach.Client, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.client != nil {
		select {
		case <-v.client.Done():
		default:
			return v.client, nil
		}
	}
	limited, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	c, err := reach.Wait(limited, v.m.Endpoint, reach.Options{Log: v.q.log})
	if err != nil {
		return nil, err
	}
	v.client = c
	return c, nil
}

func (v *qemuMachine) sh(ctx context.Context, script string) error {
	c, err := v.connect(ctx)
	if err != nil {
		return err
	}
	out, exit, err := c.Output(ctx, "/bin/sh -s", strings.NewReader(script))
	if err == nil && exit != 0 {
		err = fmt.Errorf("machine %s: exit %d: %s", v.m.Name, exit, out)
	}
	return err
}

func (v *qemuMachine) Start(ctx context.Context) error { return v.sh(ctx, prepare) }
func (v *qemuMachine) Stop(ctx context.Context) error  { return v.sh(ctx, halt) }

// SSH carries the connection to the guest's second server.
func (v *qemuMachine) SSH(ctx context.Context, c net.Conn) {
	defer c.Close()
	d, err := v.dial(ctx, "127.0.0.1:"+qemuPort)
	if err != nil {
		v.q.log.Debug("no ssh", "machine", v.m.Name, "error", err)
		return
	}
	Splice(ctx, c, d)
}

func (v *qemuMachine) Dial(ctx context.Context, port int) (net.Conn, error) {
	return v.dial(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

func (v *qemuMachine) dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := v.connect(ctx)
	if err != nil {
		return nil, err
	}
	return c.DialContext(ctx, "tcp", address)
}

func (v *qemuMachine) Save(ctx context.Context, d Disk) error {
	_, err := v.q.p.SaveImage(ctx, v.m.Name, qemuPrefix+string(d))
	return err
}

func (v *qemuMachine) Delete(ctx context.Context) error {
	v.mu.Lock()
	if v.client != nil {
		v.client.Close()
		v.client = nil
	}
	v.mu.Unlock()
	return v.q.p.Delete(ctx, v.m.Name)
}
