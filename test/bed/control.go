//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const etcdURL = "http://127.0.0.1:23790"

// audit writes down the Pods that Tekton's controller asks for, as it asks for
// them: internal/admit is tested with them.
const audit = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules:
- level: Request
  users: ["system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"]
  verbs: [create]
  resources: [{group: "", resources: [pods]}]
- level: None
`

// apiUp starts etcd and the API server.
func (b *bed) apiUp() error {
	if err := write(b.in("audit.yaml"), audit, 0o644); err != nil {
		return err
	}
	pki := func(name string) string { return b.in("pki", name) }
	if err := b.start(daemon{name: "etcd", argv: []string{
		filepath.Join(b.kube, "etcd"), "--name", nodeName, "--data-dir", b.in("etcd"), "--log-level", "warn",
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL,
		"--listen-peer-urls", "http://127.0.0.1:23800", "--initial-advertise-peer-urls", "http://127.0.0.1:23800",
		"--initial-cluster", nodeName + "=http://127.0.0.1:23800",
		"--unsafe-no-fsync", "--quota-backend-bytes", "4294967296", // a power cut may lose it: wipe
	}}); err != nil {
		return err
	}
	return b.start(daemon{name: "kube-apiserver", argv: []string{
		filepath.Join(b.kube, "kube-apiserver"), "--etcd-servers", etcdURL,
		"--bind-address", nodeIP, "--advertise-address", nodeIP, "--secure-port", "6443", "--endpoint-reconciler-type", "master-count",
		"--service-cluster-ip-range", serviceNet, "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
		"--allow-privileged", "--profiling=false",
		"--client-ca-file", pki("ca.crt"), "--tls-cert-file", pki("apiserver.crt"), "--tls-private-key-file", pki("apiserver.key"),
		"--requestheader-client-ca-file", pki("ca.crt"), "--requestheader-allowed-names", "front-proxy",
		"--requestheader-username-headers", "X-Remote-User", "--requestheader-group-headers", "X-Remote-Group",
		"--requestheader-extra-headers-prefix", "X-Remote-Extra-",
		"--kubelet-client-certificate", pki("admin.crt"), "--kubelet-client-key", pki("admin.key"),
		"--kubelet-preferred-address-types", "InternalIP",
		"--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file", pki("sa.key"), "--service-account-signing-key-file", pki("sa.key"),
		"--audit-policy-file", b.in("audit.yaml"), "--audit-log-path", b.in("log", "audit.json"), "--audit-log-maxsize", "50", "--audit-log-maxbackup", "1",
	}})
}

func (b *bed) apiReady(ctx context.Context) error {
	client, err := b.https()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return b.await(ctx, "API server", 2*time.Minute, []string{"etcd", "kube-apiserver"}, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, apiURL+"/readyz", nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz: %s", answer.Status)
		}
		return nil
	})
}

func (b *bed) https() (*http.Client, error) {
	pem, err := os.ReadFile(b.in("pki", "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	own, err := tls.LoadX509KeyPair(b.in("pki", "admin.crt"), b.in("pki", "admin.key"))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 5 * time.Second}, nil
}

// controllersUp starts what works on the API's objects.
func (b *bed) controllersUp() error {
	configs := func(name string) []string {
		config := b.kubeconfig(name)
		return []string{
			"--kubeconfig", config, "--authentication-kubeconfig", config, "--authorization-kubeconfig", config,
			"--bind-address", "127.0.0.1", "--leader-elect=false", "--kube-api-qps", "200", "--kube-api-burst", "400",
		}
	}
	manager := append([]string{filepath.Join(b.kube, "kube-controller-manager")}, configs("kube-controller-manager")...)
	if err := b.start(daemon{name: "kube-controller-manager", argv: append(manager,
		"--use-service-account-credentials", "--service-account-private-key-file", b.in("pki", "sa.key"), "--root-ca-file", b.in("pki", "ca.crt"),
		"--cluster-signing-cert-file", b.in("pki", "ca.crt"), "--cluster-signing-key-file", b.in("pki", "ca.key"), "--controllers", "*,-nodeipam")}); err != nil {
		return err
	}
	return b.start(daemon{name: "kube-scheduler", argv: append([]string{filepath.Join(b.kube, "kube-scheduler")}, configs("kube-scheduler")...)})
}
