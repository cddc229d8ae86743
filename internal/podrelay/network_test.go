//go:build linux

package podrelay_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/test/sshd"
)

// newNet makes a Pod whose machine has a network of its own: this one is the Pod's.
func newNet(t *testing.T, lines ...string) *pod {
	t.Helper()
	network := sshd.NewNetwork(t)
	return newPodWith(t, sshd.Options{Net: network.Path(), Lines: lines})
}

// serving is a program that answers each connection to a port of the machine with
// a word, and makes the file "serving" when it can.
func serving(port int, word string) string {
	return fmt.Sprintf(`perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:%d", Listen => 5, ReuseAddr => 1) or die "$@"; open F, ">serving";
		while ($c = $s->accept) { print $c "%s\n"; close $c }'`, port, word)
}

// freePort returns a port that is free in the Pod.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// heard is what the Pod's port says; an error is what a probe sees.
func heard(port int) (string, error) {
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	return string(b), err
}

// web is a Service, or a sidecar: a server in the Pod's network that says what it was asked.
func web(t *testing.T) (port int) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s\n", r.Host, r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// knowing runs the relay where names are known, as the cluster's DNS would.
func (p *pod) knowing(cmd *exec.Cmd, names ...string) *exec.Cmd {
	p.t.Helper()
	hosts := filepath.Join(p.dir, "hosts")
	p.write(hosts, "127.0.0.1 localhost "+strings.Join(names, " ")+"\n")
	in := exec.Command("unshare", append([]string{"--mount", "/bin/sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts}, cmd.Args...)...)
	in.Args[6] = cmd.Path
	in.Env, in.Dir = append(cmd.Env, "PATH=/usr/bin:/bin:/usr/sbin:/sbin"), cmd.Dir
	return in
}

// until waits on the machine for a file in the command's folder.
func until(file string) string { return "until [ -e " + file + " ]; do sleep 0.02; done; " }

func TestAServerOnTheMachineIsReachedThroughThePod(t *testing.T) {
	p := newNet(t)
	port := freePort(t)
	c := p.container("main")
	c.plan.Ports = []handoff.Port{{Port: port, Name: "web"}}
	run := c.start("/bin/sh", "-c", "echo ready; "+until("up")+serving(port, "hello")+" & pid=$!; "+until("down")+"kill $pid; wait $pid 2>&-; echo down; "+until("over")+"exit 3")
	run.await("ready")
	if got, err := heard(port); err == nil {
		t.Errorf("before the server is up the port says %q, want it refused", got)
	}
	c.machine("touch up")
	await(t, "the port opens", func() bool { got, _ := heard(port); return got == "hello\n" })
	for range 20 {
		if got, err := heard(port); got != "hello\n" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	c.machine("touch down")
	run.await("down")
	await(t, "the port closes", func() bool { _, err := heard(port); return strings.Contains(fmt.Sprint(err), "refused") })
	c.machine("touch over")
	if got := run.end(); got != (result{3, "ready\ndown\n", ""}) {
		t.Errorf("%+v", got)
	}
}

func TestProgramsOnTheMachineReachTheCluster(t *testing.T) {
	p := newNet(t)
	port := web(t)
	c := p.container("main")
	c.plan.Network = "cluster"
	ask := fmt.Sprintf("curl -sS http://web:%d/a http://web.ns.svc.cluster.local:%d/b", port, port)
	socks := fmt.Sprintf(`curl -sS --proxy "$ALL_PROXY" http://web:%d/c`, port)
	run := c.begin(p.knowing(c.command("relay", "run", "--", "/bin/sh", "-c", ask+"; "+socks+"; env | grep -ci '_proxy='; echo ready; "+until("over")), "web", "web.ns.svc.cluster.local"))
	run.await("ready\n")
	// A shell beside it finds the same, and has it from the run's relay.
	if got, want := c.machine(ask), fmt.Sprintf("web:%d /a\nweb.ns.svc.cluster.local:%d /b\n", port, port); got != want {
		t.Errorf("the shell heard %q, want %q", got, want)
	}
	c.machine("touch over")
	want := fmt.Sprintf("web:%d /a\nweb.ns.svc.cluster.local:%d /b\nweb:%d /c\n8\nready\n", port, port, port)
	if got := run.end(); got != (result{0, want, ""}) {
		t.Errorf("%+v, want %q", got, want)
	}
	// When the command is over, so is its proxy.
	if got := c.machine("env | grep -ci _proxy= || true"); got != "0\n" {
		t.Errorf("%s variables of the proxy after the run", got)
	}
}

func TestAProxyThatTheContainerDeclaresIsKept(t *testing.T) {
	p := newNet(t)
	c := p.container("main")
	c.plan.Network, c.plan.Env = "cluster", []string{"https_proxy", "NO_PROXY"}
	c.env = []string{"https_proxy=http://proxy.example:3128", "NO_PROXY=example"}
	c.want(`echo "$https_proxy/$HTTPS_PROXY/$NO_PROXY/$no_proxy"; case $http_proxy/$HTTP_PROXY in http://outrigger:*@127.0.0.1:*/http://outrigger:*) echo ours;; esac`,
		"http://proxy.example:3128//example/\nours\n")
}

// Containers that run at once have the same ways to the Pod's sidecars.
func TestASidecarOnTheMachinesLocalhost(t *testing.T) {
	p := newNet(t)
	side := web(t)
	at := freePort(t)
	one, two := p.container("one"), p.container("two")
	for _, c := range []*container{one, two} {
		c.plan.Forwards = []handoff.Forward{{Port: at, To: fmt.Sprintf("127.0.0.1:%d", side)}}
	}
	ask := fmt.Sprintf("curl -sS http://127.0.0.1:%d/x; ", at)
	said := fmt.Sprintf("127.0.0.1:%d /x\n", at)
	run := one.start("/bin/sh", "-c", ask+"echo ready; "+until("over")+ask)
	run.await("ready")
	two.want(ask+"touch over", said)
	if got := run.end(); got != (result{0, said + "ready\n" + said, ""}) {
		t.Errorf("%+v", got)
	}
	// The port went with the last of them.
	if got := two.machine(fmt.Sprintf("curl -s http://127.0.0.1:%d/x || echo refused", at)); got != "refused\n" {
		t.Errorf("after the end: %q", got)
	}
}

func TestAContainerThatIsRestartedKeepsItsNetwork(t *testing.T) {
	p := newNet(t)
	service, port := web(t), freePort(t)
	c := p.container("main")
	c.plan.Network, c.plan.Ports = "cluster", []handoff.Port{{Port: port}}
	ask := fmt.Sprintf("curl -sS --noproxy none http://127.0.0.1:%d/$i; ", service)
	script := serving(port, "hello") + " & i=1; " + ask + "echo ready; " + until("again") + "i=2; " + ask + "exit 4"
	first := c.start("/bin/sh", "-c", script)
	first.await("ready")
	await(t, "the port opens", func() bool { got, _ := heard(port); return got == "hello\n" })
	first.signal(syscall.SIGKILL)
	first.end()
	second := c.start("/bin/sh", "-c", script)
	await(t, "the port is open again", func() bool { got, _ := heard(port); return got == "hello\n" })
	c.machine("touch again")
	got := second.end()
	if want := fmt.Sprintf("127.0.0.1:%d /2\n", service); got.code != 4 || !strings.HasSuffix(got.out, want) || got.errs != "" {
		t.Errorf("%+v, want it to end with %q", got, want)
	}
}

func TestANetworkSurvivesALostConnection(t *testing.T) {
	p := newNet(t)
	service, port, at := web(t), freePort(t), freePort(t)
	c := p.container("main")
	c.plan.Network, c.plan.Ports = "cluster", []handoff.Port{{Port: port}}
	c.plan.Forwards = []handoff.Forward{{Port: at, To: fmt.Sprintf("127.0.0.1:%d", service)}}
	// The way back takes a moment, in which nobody answers.
	ask := fmt.Sprintf(`until curl -sf --noproxy none http://127.0.0.1:%d/$i; do sleep 0.05; done; until curl -sf --noproxy '*' http://127.0.0.1:%d/$i; do sleep 0.05; done; `, service, at)
	run := c.start("/bin/sh", "-c", serving(port, "hello")+" & i=1; "+ask+"echo ready; "+until("again")+"i=2; "+ask)
	run.await("ready")
	await(t, "the port opens", func() bool { got, _ := heard(port); return got == "hello\n" })
	p.server.Kill()
	await(t, "the port is open again", func() bool { got, _ := heard(port); return got == "hello\n" })
	c.machine("touch again")
	got := run.end()
	want := fmt.Sprintf("127.0.0.1:%d /1\n127.0.0.1:%d /1\nready\n127.0.0.1:%d /2\n127.0.0.1:%d /2\n", service, at, service, at)
	if got.code != 0 || got.out != want {
		t.Errorf("%+v, want %q", got, want)
	}
	if lines := strings.Count(got.errs, "\n"); lines != 2 || strings.Count(got.errs, "outrigger: the connection to the machine is") != 2 {
		t.Errorf("stderr %q, want to be told of the connection alone", got.errs)
	}
}

func TestAMachineThatForbidsForwarding(t *testing.T) {
	p := newNet(t, "AllowTcpForwarding no")
	c := p.container("main")
	c.plan.Ports = []handoff.Port{{Port: freePort(t), Name: "web"}}
	c.plan.Forwards = []handoff.Forward{{Port: freePort(t), To: "db:5432"}}
	got := c.sh("echo runs; sleep 1; exit 5")
	if got.code != 5 || got.out != "runs\n" || strings.Count(got.errs, "AllowTcpForwarding yes") != 2 {
		t.Errorf("%+v, want two warnings that say what to do", got)
	}
	proxied := p.container("proxied")
	proxied.plan.Network = "cluster"
	if got := proxied.sh("echo runs"); got.code != 125 || got.out != "" || !strings.Contains(got.errs, "AllowTcpForwarding yes") {
		t.Errorf("%+v, want a fault before the command runs", got)
	}
}

func TestAPortThatIsTakenOnTheMachine(t *testing.T) {
	p := newNet(t)
	service, at := web(t), freePort(t)
	other := p.container("other")
	holds := other.start("/bin/sh", "-c", serving(at, "other")+" & "+until("serving")+"echo ready; "+until("leave")+"kill $!")
	holds.await("ready")
	c := p.container("main")
	c.plan.Forwards = []handoff.Forward{{Port: at, To: fmt.Sprintf("127.0.0.1:%d", service)}}
	run := c.start("/bin/sh", "-c", "echo runs; "+fmt.Sprintf("until curl -sf http://127.0.0.1:%d/mine; do sleep 0.05; done", at))
	run.await("runs")
	c.machine("touch leave")
	got := run.end()
	if got.code != 0 || !strings.Contains(got.out, "/mine") || strings.Count(got.errs, "is taken") != 1 {
		t.Errorf("%+v, want one warning", got)
	}
}
