//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

func (b *bed) socket() string { return filepath.Join(b.run, "containerd.sock") }

// containerdUp starts containerd, with a name space of networks and images that are the bed's own.
func (b *bed) containerdUp() error {
	// Some computers that are containers themselves have no CAP_SYS_RESOURCE: there
	// nobody may lower an oom_score_adj, and runc would end over it.
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.local/pause:1"
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`, b.in("containerd"), filepath.Join(b.run, "containerd"), b.socket(), b.in("cni"))
	if err := write(b.in("containerd.toml"), config, 0o644); err != nil {
		return err
	}
	network := fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": %q, "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": %q, "routes": [{"dst": "0.0.0.0/0"}],
     "ranges": [[{"subnet": %q, "rangeStart": "10.244.1.1", "rangeEnd": "10.244.8.254", "gateway": %q}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
`, podBridge, filepath.Join(b.run, "ipam"), podNet, nodeIP)
	if err := write(b.in("cni", "10-pods.conflist"), network, 0o644); err != nil {
		return err
	}
	return b.start(daemon{name: "containerd", argv: []string{"/usr/bin/containerd", "-c", b.in("containerd.toml")}})
}

func (b *bed) containerdReady(ctx context.Context) error {
	return b.await(ctx, "containerd", time.Minute, []string{"containerd"}, func(ctx context.Context) error {
		_, err := b.ctr(ctx, "version")
		return err
	})
}

func (b *bed) ctr(ctx context.Context, args ...string) (string, error) {
	return command(ctx, "ctr", append([]string{"-a", b.socket(), "-n", "k8s.io"}, args...)...)
}
