//go:build linux

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	hostPrefix = "host-"
	hostCount  = 12
	hostUser   = "runner"
)

// A host is a light machine: a file system, a network and processes of its own on
// the kernel of this computer, with OpenSSH's server in it.
type host struct {
	name    string
	address string
	link    string // this computer's end of its cable
	dir     string // its host key and what it is told
}

func (b *bed) hostList() []host {
	list := make([]host, hostCount)
	for i := range list {
		name := fmt.Sprintf("%s%02d", hostPrefix, i+1)
		list[i] = host{name: name, address: fmt.Sprintf("10.245.0.%d", 10+i), link: fmt.Sprintf("outrigger-h%02d", i+1), dir: b.in("hosts", name)}
	}
	return list
}

// hosts starts the machines, and makes the pool of them if Outrigger is installed.
func hosts(ctx context.Context, b *bed) error {
	tools, err := b.toolFiles(ctx)
	if err != nil {
		return err
	}
	root := strings.TrimSuffix(tools, ".tar")
	if err := unpack(ctx, tools, root); err != nil {
		return err
	}
	if err := b.networkUp(ctx); err != nil {
		return err
	}
	login, err := keyPair(b.in("hosts"), "login")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, h := range b.hostList() {
		if err := b.hostUp(ctx, h, self, root, login); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
	}
	for _, h := range b.hostList() {
		if err := b.await(ctx, h.name, time.Minute, []string{h.name}, func(ctx context.Context) error { return greets(ctx, h.address) }); err != nil {
			return err
		}
	}
	b.say("%d machines have an SSH server: %s and up", hostCount, b.hostList()[0].address)
	return b.hostPool(ctx)
}

func (b *bed) hostUp(ctx context.Context, h host, self, root, login string) error {
	pid := b.find(h.name)
	if from, err := os.ReadFile(filepath.Join(h.dir, "root")); pid != 0 && (err != nil || string(from) != root) {
		b.say("%s is made from other files by now: making it again", h.name)
		if err := b.stop(0, h.name); err != nil {
			return err
		}
		pid = 0
	}
	if pid == 0 {
		if _, err := keyPair(h.dir, "ssh_host_ed25519_key"); err != nil {
			return err
		}
		if err := errors.Join(
			write(filepath.Join(h.dir, "authorized_keys"), login, 0o600),
			write(filepath.Join(h.dir, "root"), root, 0o644),
			write(filepath.Join(h.dir, "address"), h.address, 0o644),
			os.MkdirAll(filepath.Join(h.dir, "mnt"), 0o755),
			write(b.newHosts(), "", 0o644),
		); err != nil {
			return err
		}
		const own = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
		// The kernel takes its time with the cable of one that has just ended.
		if err := b.await(ctx, "cable of "+h.name, time.Minute, nil, func(ctx context.Context) error { return h.unplug(ctx) }); err != nil {
			return err
		}
		if err := b.start(daemon{name: h.name, argv: []string{self, "machine", h.dir}, clone: own}); err != nil {
			return err
		}
		if pid = b.find(h.name); pid == 0 {
			return errors.New("it ended at once: " + b.tail(h.name))
		}
	}
	return h.connect(ctx, pid)
}

// unplug is nil when this computer has no end of the machine's cable.
func (h host) unplug(ctx context.Context) error {
	if _, err := os.Stat("/sys/class/net/" + h.link); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	_, err := command(ctx, "ip", "link", "del", h.link)
	return errors.Join(err, errors.New("it was still there"))
}

// connect lays the cable to the machine, unless it is there. The machine waits for it.
func (h host) connect(ctx context.Context, pid int) error {
	inside := func(input string) error {
		_, err := feed(ctx, input, "nsenter", "--net=/proc/"+strconv.Itoa(pid)+"/ns/net", "ip", "-batch", "-")
		return err
	}
	if _, err := os.Stat("/sys/class/net/" + h.link); err != nil {
		if _, err := command(ctx, "ip", "link", "add", h.link, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	if _, err := command(ctx, "ip", "link", "set", h.link, "master", hostBridge, "up"); err != nil {
		return err
	}
	return inside(fmt.Sprintf("link set lo up\naddr replace %s/24 dev eth0\nlink set eth0 up\nroute replace default via %s\n", h.address, hostGate))
}

// unpack makes the files from which all machines start; each writes to a layer of its own.
func unpack(ctx context.Context, archive, root string) error {
	if _, err := os.Stat(root); err == nil {
		return nil
	}
	draft := root + ".draft"
	if err := errors.Join(os.RemoveAll(draft), os.Mkdir(draft, 0o755)); err != nil {
		return err
	}
	if _, err := command(ctx, "tar", "-xpf", archive, "--numeric-owner", "--exclude=./dev/*", "-C", draft); err != nil {
		return err
	}
	return os.Rename(draft, root)
}

// keyPair makes an SSH key, once, and returns the line of its public half.
func keyPair(dir, name string) (string, error) {
	public := filepath.Join(dir, name+".pub")
	if line, err := os.ReadFile(public); err == nil {
		return string(line), nil
	}
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(private, "outrigger-bed")
	if err != nil {
		return "", err
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", err
	}
	line := string(ssh.MarshalAuthorizedKey(key))
	// The public half last: it says that both are there.
	return line, errors.Join(write(filepath.Join(dir, name), string(pem.EncodeToMemory(block)), 0o600), write(public, line, 0o644))
}
