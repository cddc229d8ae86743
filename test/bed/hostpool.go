//go:build linux

package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/test/built"
)

// hostPool makes the pool of the machines. Without Outrigger there are none. If the machines were made anew, what the
// cluster remembers of those before is forgotten, as an operator would do it: the controller alone waits for half an
// hour before it replaces all machines of a pool.
func (b *bed) hostPool(ctx context.Context) error {
	if b.find("kube-apiserver") == 0 {
		return nil
	}
	var err error
	if b.kube, err = built.Kube(ctx, b.out); err != nil {
		return err
	}
	if _, err := b.kubectl(ctx, "get", "crd", "machinepools.outrigger.dev", "-o", "name"); err != nil {
		if strings.Contains(err.Error(), "NotFound") {
			b.say("Outrigger is not installed: no pool of the machines")
			return nil
		}
		return err
	}
	login, err := os.ReadFile(b.in("hosts", "login"))
	if err != nil {
		return err
	}
	var pool strings.Builder
	fmt.Fprintf(&pool, `apiVersion: v1
kind: Secret
metadata: {name: hosts-login, namespace: outrigger-system}
data: {ssh-privatekey: %s}
---
apiVersion: outrigger.dev/v1alpha1
kind: MachinePool
metadata: {name: hosts}
spec:
  os: linux
  arch: amd64
  warm: %[2]d
  max: %[2]d
  maxCreating: 2
  reuse: {policy: Clean}
  trust: Shared
  login: {user: %s, secretName: hosts-login}
  provider:
    ssh:
      hosts:
`, base64.StdEncoding.EncodeToString(login), hostCount, hostUser)
	for _, h := range b.hostList() {
		key, err := os.ReadFile(filepath.Join(h.dir, "ssh_host_ed25519_key.pub"))
		if err != nil {
			return err
		}
		fmt.Fprintf(&pool, "      - {address: %s, hostKeys: [%q]}\n", h.address, strings.TrimSpace(string(key)))
	}
	if err := b.apply(ctx, pool.String()); err != nil {
		return err
	}
	if _, err := os.Stat(b.newHosts()); err == nil {
		forget := []string{"delete", "machines", "-l", v1alpha1.LabelPool + "=hosts", "--ignore-not-found", "--timeout=2m"}
		if _, err := b.kubectl(ctx, forget...); err != nil {
			return err
		}
		if err := os.Remove(b.newHosts()); err != nil {
			return err
		}
	}
	b.say("pool hosts: %d machines", hostCount)
	return nil
}

// newHosts is the file that says that machines were made anew since the pool was made.
func (b *bed) newHosts() string { return b.in("hosts", "new") }

// greets is nil once an SSH server says its name.
func greets(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(address, "22"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	greeting := make([]byte, 4)
	if _, err := conn.Read(greeting); err != nil {
		return err
	}
	if string(greeting) != "SSH-" {
		return fmt.Errorf("%s greets with %q", address, greeting)
	}
	return nil
}
