//go:build e2e

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A server on a machine, behind a Service and a probe; a server in the cluster, and a
// sidecar; and a client on each side.
func TestNetwork(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	const serve = `$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8080", Listen => 5, ReuseAddr => 1) or die "$@"; $SIG{TERM} = sub { exit 0 };
        while ($c = $s->accept) { while (<$c>) { last if /^\s*$/ } print $c "HTTP/1.0 200 OK\r\n\r\nfrom the machine\n"; close $c }`
	p.create(`
apiVersion: v1
kind: Service
metadata: {name: machine}
spec: {selector: {app: machine}, ports: [{port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: cluster}
spec: {selector: {app: cluster}, ports: [{port: 80, targetPort: 8000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cluster, labels: {app: cluster}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: @TOOLS@
    command: [sh, -c, 'mkdir /tmp/www; echo from the cluster > /tmp/www/index.html; exec busybox httpd -f -p 8000 -h /tmp/www']
    readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: machine, labels: {app: machine}, annotations: {outrigger.dev/pool: @POOL@}}
spec:
  terminationGracePeriodSeconds: 10
  containers:
  - name: main
    image: nowhere.example/none:1
    env: [@MARK@]
    command: [perl, -MIO::Socket::INET, -e]
    args:
    - |
        ` + serve + `
    ports: [{name: web, containerPort: 8080}]
    readinessProbe: {httpGet: {port: web}, periodSeconds: 1}
`)
	ready := func(pod *corev1.Pod) bool {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady {
				return c.Status == corev1.ConditionTrue
			}
		}
		return false
	}
	p.pod("cluster", ready)
	p.pod("machine", ready)
	// From a container on Linux to the server on the machine. A Pod that is ready is behind its
	// Service once kube-proxy has heard of it, so this one tries again and the one after it need not.
	p.create(`
apiVersion: v1
kind: Pod
metadata: {name: linux}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: "@TOOLS@"
    command: [sh, -c, 'for name in cluster machine; do until curl -sf http://$name/; do sleep 1; done; done']
`)
	p.pod("linux", ended)
	p.logs("linux", "main", "from the cluster\nfrom the machine\n")
	// Through the proxy by the Service's names, through a plain forward, from a sidecar.
	p.create(`
apiVersion: v1
kind: Pod
metadata:
  name: client
  annotations:
    outrigger.dev/pool: @POOL@
    outrigger.dev/network: cluster
    outrigger.dev/services: 18080=machine:80
spec:
  restartPolicy: Never
  initContainers:
  - name: side
    image: @TOOLS@
    restartPolicy: Always
    command: [sh, -c, 'mkdir /tmp/www; echo from the sidecar > /tmp/www/index.html; exec busybox httpd -f -p 18000 -h /tmp/www']
    ports: [{containerPort: 18000}]
    startupProbe: {tcpSocket: {port: 18000}, periodSeconds: 1}
  containers:
  - name: main
    image: nowhere.example/none:1
    env: [@MARK@]
    command: [sh, -ec]
    args:
    - |
        curl -sSf http://cluster/
        curl -sSf http://cluster.@NAMESPACE@.svc.cluster.local/
        curl -sSf --noproxy '*' http://127.0.0.1:18080/
        curl -sSf --noproxy '*' http://127.0.0.1:18000/
`)
	p.pod("client", ended)
	p.logs("client", "main", "from the cluster\nfrom the cluster\nfrom the machine\nfrom the sidecar\n")
	if out := p.kubectl("exec", "machine", "-c", "main", "--", "/outrigger/bin/shell", "sh", "-c", "curl -s http://127.0.0.1:8080/"); !strings.Contains(out, "from the machine") {
		t.Errorf("a shell on the machine heard %q", out)
	}
}
