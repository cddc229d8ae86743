//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const nodeName = "node"

// nodeUp starts the kubelet and kube-proxy.
func (b *bed) nodeUp() error {
	if err := write(b.in("resolv.conf"), "nameserver "+dnsIP+"\n", 0o644); err != nil {
		return err
	}
	kubelet := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %s
healthzBindAddress: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %s}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://%s
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
clusterDNS: [%s]
clusterDomain: cluster.local
resolvConf: %s
rotateCertificates: false
# Images are imported, never pulled: none may go.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, imagefs.available: 1Gi}
# So often ConfigMaps and Secrets are written again into Pods that run.
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
maxPods: 500
podPidsLimit: -1
makeIPTablesUtilChains: false
oomScoreAdj: 0
shutdownGracePeriod: 0s
`, nodeIP, b.in("pki", "ca.crt"), b.socket(), dnsIP, b.in("resolv.conf"))
	proxy := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %s}
clusterCIDR: %s
oomScoreAdj: 0
hostnameOverride: %s
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, b.kubeconfig("kube-proxy"), podNet, nodeName)
	if err := errors.Join(write(b.in("kubelet.yaml"), kubelet, 0o644), write(b.in("kube-proxy.yaml"), proxy, 0o644)); err != nil {
		return err
	}
	if err := b.start(daemon{name: "kubelet", argv: []string{
		filepath.Join(b.kube, "kubelet"), "--config", b.in("kubelet.yaml"), "--kubeconfig", b.kubeconfig("kubelet"),
		"--root-dir", b.in("kubelet"), "--cert-dir", b.in("kubelet", "pki"), "--hostname-override", nodeName, "--node-ip", nodeIP,
	}}); err != nil {
		return err
	}
	return b.start(daemon{name: "kube-proxy", argv: []string{filepath.Join(b.kube, "kube-proxy"), "--config", b.in("kube-proxy.yaml")}})
}

// nodeReady waits until Pods can be started.
func (b *bed) nodeReady(ctx context.Context, c kubernetes.Interface) error {
	daemons := []string{"kubelet", "kube-proxy", "kube-controller-manager", "kube-scheduler", "containerd"}
	if err := b.await(ctx, "node", 2*time.Minute, daemons, func(ctx context.Context) error {
		node, err := c.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		lease, err := c.CoordinationV1().Leases("kube-node-lease").Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		// What it was before a restart is no news.
		if lease.Spec.RenewTime == nil || time.Since(lease.Spec.RenewTime.Time) > 15*time.Second {
			return errors.New("kubelet is silent")
		}
		for _, cond := range node.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errors.New("not Ready")
	}); err != nil {
		return err
	}
	return b.await(ctx, "service account default", time.Minute, daemons, func(ctx context.Context) error {
		_, err := c.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}
