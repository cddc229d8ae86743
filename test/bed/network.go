//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Two networks, each a bridge of this computer: Pods, and the machines. Nothing
// listens on any other interface, and nothing of the bed is let out to one.
const (
	podBridge  = "outrigger-pods"
	nodeIP     = "10.244.0.1"
	podNet     = "10.244.0.0/16"
	hostBridge = "outrigger-hosts"
	hostGate   = "10.245.0.1"
	hostNet    = "10.245.0.0/24"

	serviceNet   = "10.96.0.0/16"
	kubernetesIP = "10.96.0.1"
	dnsIP        = "10.96.0.10"
	apiURL       = "https://" + nodeIP + ":6443"
)

// Machines answer and begin nothing, as computers do that are somewhere else behind
// a router: what reaches the cluster from there must come through the relay.
const rules = `table ip outrigger-bed
delete table ip outrigger-bed
table ip outrigger-bed {
	chain forward {
		type filter hook forward priority -10;
		iifname "` + podBridge + `" oifname { "` + podBridge + `", "` + hostBridge + `" } accept
		iifname "` + podBridge + `" drop
		iifname "` + hostBridge + `" ct state established,related accept
		iifname "` + hostBridge + `" drop
	}
	chain input {
		type filter hook input priority -10;
		iifname "` + hostBridge + `" ct state established,related accept
		iifname "` + hostBridge + `" drop
	}
}
`

// sysctls are changed by us, and by the kubelet; they are put back by down.
var sysctls = []string{"net/ipv4/ip_forward", "vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"}

func (b *bed) networkUp(ctx context.Context) error {
	if err := b.saveSysctls(); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	for bridge, address := range map[string]string{podBridge: nodeIP + "/16", hostBridge: hostGate + "/24"} {
		if _, err := os.Stat("/sys/class/net/" + bridge); err != nil {
			if _, err := command(ctx, "ip", "link", "add", bridge, "type", "bridge"); err != nil {
				return err
			}
		}
		if _, err := command(ctx, "ip", "addr", "replace", address, "dev", bridge); err != nil {
			return err
		}
		if _, err := command(ctx, "ip", "link", "set", bridge, "up"); err != nil {
			return err
		}
	}
	_, err := feed(ctx, rules, "nft", "-f", "-")
	return err
}

func (b *bed) networkDown(ctx context.Context) error {
	var errs []error
	for _, bridge := range []string{podBridge, hostBridge} {
		if _, err := os.Stat("/sys/class/net/" + bridge); err == nil {
			_, err := command(ctx, "ip", "link", "del", bridge)
			errs = append(errs, err)
		}
	}
	tables, err := command(ctx, "nft", "list", "tables")
	errs = append(errs, err)
	for line := range strings.Lines(tables) {
		fields := strings.Fields(line)
		if len(fields) == 3 && (fields[2] == "outrigger-bed" || fields[2] == "kube-proxy") {
			_, err := command(ctx, "nft", "delete", "table", fields[1], fields[2])
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, b.restoreSysctls())...)
}

// saveSysctls remembers how the computer was before the first up.
func (b *bed) saveSysctls() error {
	saved := b.in("sysctls")
	if _, err := os.Stat(saved); err == nil {
		return nil
	}
	var lines strings.Builder
	for _, name := range sysctls {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil {
			return err
		}
		lines.WriteString(name + " " + strings.TrimSpace(string(value)) + "\n")
	}
	return write(saved, lines.String(), 0o644)
}

func (b *bed) restoreSysctls() error {
	saved, err := os.ReadFile(b.in("sysctls"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for line := range strings.Lines(string(saved)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			errs = append(errs, os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.Remove(b.in("sysctls"))
}
