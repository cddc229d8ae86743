package reaching

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A meeting is a hub in the cluster, with its keys.
type meeting struct {
	*site
	keys string
	hub  *process
}

const hubURL = "https://" + hubHost + ":8443"

func newMeeting(t *testing.T) *meeting {
	t.Helper()
	m := &meeting{site: newSite(t)}
	m.keys = filepath.Join(m.dir, "keys")
	m.must(m.cluster, bin, "outpost", "init", m.keys, "--name", hubHost)
	return m
}

// open starts the hub, also after it was killed.
func (m *meeting) open() {
	m.t.Helper()
	m.hub = m.start(m.cluster, bin, "outpost", "hub", "-v", "--dir", filepath.Join(m.keys, "hub"), "--listen", hubHost+":8443")
	m.listens(m.cluster, hubHost+":8443")
}

// token makes one and returns its file.
func (m *meeting) token(outpost string, flags ...string) string {
	m.t.Helper()
	token := m.must(m.cluster, append([]string{bin, "outpost", "token", outpost, "--dir", m.keys}, flags...)...)
	return m.file("tokens/"+outpost, token+"\n")
}

// pass makes one and returns its file.
func (m *meeting) pass(name, network string, flags ...string) string {
	m.t.Helper()
	args := append([]string{bin, "outpost", "pass", network, "--key", filepath.Join(m.keys, "pass.key"), "--for", name}, flags...)
	return m.file("passes/"+name, m.must(m.cluster, args...)+"\n")
}

// outpost starts one in the private network.
func (m *meeting) outpost(token string, allowed ...string) *process {
	m.t.Helper()
	args := []string{bin, "outpost", "connect", hubURL, "-v", "--token-file", token, "--ca-file", m.ca()}
	for _, a := range allowed {
		args = append(args, "--allow", a)
	}
	return m.start(m.private, args...)
}

func (m *meeting) ca() string { return filepath.Join(m.keys, "hub", "tls.crt") }

// via is the way through the hub.
func (m *meeting) via(network, pass string) string {
	return fmt.Sprintf("[{hub: %q, network: %s, passwordFile: %q, caFile: %q}]", hubURL, network, pass, m.ca())
}

func TestOutpost(t *testing.T) {
	m := newMeeting(t)
	token := m.token("lab/east")
	m.open()
	m.outpost(token, inside+":22", "10.77.0.0/24:8000-8100").says("session begins", 1)
	pass := m.pass("me", "lab", "--to", inside+":22", "--to", elsewhere+":*")
	m.works(m.config(inside, m.via("lab", pass)))

	for _, tt := range []struct {
		name, host, network, pass, kind string
		says                            []string
	}{
		{"an address that the outpost does not allow", elsewhere, "lab", pass, "RouteRefused", []string{"outpost lab/east: " + elsewhere + ":22 is not in the outpost's list of allowed addresses"}},
		{"an address that the pass is not for", "10.77.0.4", "lab", pass, "RouteRefused", []string{`the pass of \"me\" does not allow 10.77.0.4:22`, inside + ":22"}},
		{"another network", inside, "rack", pass, "RouteRefused", []string{`the pass is for network \"lab\", not for \"rack\"`}},
		{"a network that is not there", inside, "rack", m.pass("rack", "rack", "--to", "*:*"), "RouteRefused", []string{`this hub has no network \"rack\"`}},
		{"a pass that has expired", inside, "lab", m.pass("old", "lab", "--to", "*:*", "--expires", "1ns"), "RouteRefused", []string{`the pass of \"old\" expired at`}},
		{"a pass of another key", inside, "lab", m.forged(), "RouteRefused", []string{"was not signed by a key that is known here"}},
		{"no pass at all", inside, "lab", m.file("nonsense", "hunter2\n"), "RouteRefused", []string{"the password is no pass"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := *m.site
			s.t = t
			s.refuses(s.config(tt.host, m.via(tt.network, tt.pass)), tt.kind, tt.says...)
		})
	}
	if strings.Contains(m.hub.text(), "hunter2") {
		t.Error("the hub's log holds a password")
	}
}

// forged is a pass that another hub would believe.
func (m *meeting) forged() string {
	other := filepath.Join(m.dir, "other")
	m.must(m.cluster, bin, "outpost", "init", other, "--name", hubHost)
	pass := m.must(m.cluster, bin, "outpost", "pass", "lab", "--key", filepath.Join(other, "pass.key"), "--to", "*:*")
	return m.file("forged", pass+"\n")
}

// A hub is an HTTP proxy like any other: here for curl.
func TestHubServesCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here")
	}
	m := newMeeting(t)
	token := m.token("lab/east")
	m.open()
	m.outpost(token, inside+":22").says("session begins", 1)
	pass, err := os.ReadFile(m.pass("curl", "lab", "--to", inside+":22"))
	if err != nil {
		t.Fatal(err)
	}
	// An SSH server is what there is in the private network; it greets.
	cmd := m.command(m.cluster, "curl", "-sv", "--http0.9", "--max-time", "10", "--proxytunnel", "-x", hubURL, "--proxy-cacert", m.ca(),
		"-U", "lab:"+strings.TrimSpace(string(pass)), "http://"+inside+":22/")
	stdout, stderr, _ := m.run(cmd)
	if !strings.HasPrefix(stdout, "SSH-2.0-OpenSSH") {
		t.Errorf("curl got %q, want the greeting of an SSH server\n%s", stdout, stderr)
	}
}

func TestOutpostRefused(t *testing.T) {
	m := newMeeting(t)
	good := m.token("lab/east")
	expired := m.token("lab/old", "--expires", "1ns")
	m.open()
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"a token that nobody made", []string{"--token-file", m.file("bad", "outpost_x\n"), "--ca-file", m.ca(), "--allow", "*:22"}, "the token is not known here"},
		{"a token that has expired", []string{"--token-file", expired, "--ca-file", m.ca(), "--allow", "*:22"}, "the token of outpost lab/old expired at"},
		{"a hub that nobody vouches for", []string{"--token-file", good, "--allow", "*:22"}, "its certificate is not vouched for"},
		{"nothing is allowed", []string{"--token-file", good, "--ca-file", m.ca()}, "no address is allowed"},
		{"a list that says nothing", []string{"--token-file", good, "--ca-file", m.ca(), "--allow", "10.77.0.1/24:22"}, "has bits behind its length: want 10.77.0.0/24"},
		{"no token", []string{"--ca-file", m.ca(), "--allow", "*:22"}, "no token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, stderr, code := m.run(m.command(m.private, append([]string{bin, "outpost", "connect", hubURL}, tt.args...)...))
			if code != 125 || !strings.Contains(stderr, tt.says) {
				t.Errorf("exit code %d, want 125 and %q:\n%s", code, tt.says, stderr)
			}
		})
	}
}

// A run is one that prints numbered lines for a while, and is watched.
type run struct {
	m     *meeting
	cmd   *exec.Cmd
	out   *bufio.Scanner
	errs  *os.File
	lines []string
}

const runLines = 300

func (m *meeting) begin(config string, flags ...string) *run {
	m.t.Helper()
	work, err := os.MkdirTemp(m.dir, "work-")
	if err != nil {
		m.t.Fatal(err)
	}
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); sleep 0.03; done; echo done > result; exit 7`, runLines)
	args := append(append([]string{"run", "-v", "--sync", work}, flags...), "--", "sh", "-c", script)
	r := &run{m: m, cmd: m.outrigger(config, args...)}
	r.cmd.Dir = work
	if r.errs, err = os.Create(filepath.Join(work + ".stderr")); err != nil {
		m.t.Fatal(err)
	}
	r.cmd.Stderr = r.errs
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	r.out = bufio.NewScanner(stdout)
	if err := r.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { r.errs.Close() })
	return r
}

// until reads lines until there are n.
func (r *run) until(n int) {
	r.m.t.Helper()
	for len(r.lines) < n && r.out.Scan() {
		r.lines = append(r.lines, r.out.Text())
	}
	if len(r.lines) < n {
		r.m.t.Fatalf("%d lines, want %d\n%s", len(r.lines), n, r.said())
	}
}

func (r *run) said() string {
	b, err := os.ReadFile(r.errs.Name())
	if err != nil {
		r.m.t.Error(err)
	}
	return string(b)
}

// end reads the rest, and wants every line once, the exit code and the file.
func (r *run) end() {
	r.m.t.Helper()
	for r.out.Scan() {
		r.lines = append(r.lines, r.out.Text())
	}
	_ = r.cmd.Wait() // the code tells
	if code := r.cmd.ProcessState.ExitCode(); code != 7 {
		r.m.t.Errorf("exit code %d, want 7\n%s", code, r.said())
	}
	if len(r.lines) != runLines {
		r.m.t.Errorf("%d lines, want %d", len(r.lines), runLines)
	}
	for i, l := range r.lines {
		if l != fmt.Sprintf("line %d", i) {
			r.m.t.Fatalf("line %d is %q", i, l)
		}
	}
	if got, err := os.ReadFile(filepath.Join(r.cmd.Dir, "result")); err != nil || string(got) != "done\n" {
		r.m.t.Errorf("came back: %q, %v", got, err)
	}
}

// Both sides are killed during a run, at different lines; the run does not notice.
func TestRunsSurviveRestarts(t *testing.T) {
	m := newMeeting(t)
	token := m.token("lab/east")
	m.open()
	east := m.outpost(token, inside+":22")
	east.says("session begins", 1)
	r := m.begin(m.config(inside, m.via("lab", m.pass("me", "lab", "--to", inside+":22"))))
	r.until(20)
	east.kill()
	m.hub.says("outpost gone", 1)
	east = m.outpost(token, inside+":22")
	r.until(120)
	m.hub.kill()
	m.open()
	r.until(220)
	m.hub.kill()
	east.kill()
	m.open()
	east = m.outpost(token, inside+":22")
	r.end()
	east.says("session begins", 1)
}

// With two outposts the end of one is bridged by the other.
func TestFailover(t *testing.T) {
	m := newMeeting(t)
	tokens := map[string]string{"east": m.token("lab/east"), "west": m.token("lab/west")}
	m.open()
	posts := map[string]*process{}
	for name, token := range tokens {
		posts[name] = m.outpost(token, inside+":22")
		posts[name].says("session begins", 1)
	}
	config := m.config(inside, m.via("lab", m.pass("me", "lab", "--to", inside+":22")))
	r := m.begin(config)
	r.until(20)
	carries, other := "east", "west"
	if !strings.Contains(posts["east"].text(), "msg=connected") {
		carries, other = other, carries
	}
	posts[carries].kill()
	r.until(200)
	posts[other].says("msg=connected", 1)
	posts[carries] = m.outpost(tokens[carries], inside+":22")
	m.hub.says("outpost connected", 3)
	posts[other].kill()
	r.end()
}

// An outpost whose machine is not there is no reason to give up: the next may see it.
func TestTheOutpostThatAllowsItIsFound(t *testing.T) {
	m := newMeeting(t)
	east, west := m.token("lab/east"), m.token("lab/west")
	m.open()
	m.outpost(east, "10.1.0.0/16:22").says("session begins", 1)
	m.outpost(west, inside+":22").says("session begins", 1)
	config := m.config(inside, m.via("lab", m.pass("me", "lab", "--to", "*:22")))
	for range 4 { // whoever is asked first
		m.works(config)
	}
}

// A network whose outposts are gone is waited for, and then told of.
func TestNoOutpost(t *testing.T) {
	m := newMeeting(t)
	token := m.token("lab/east")
	m.open()
	config := m.config(inside, m.via("lab", m.pass("me", "lab", "--to", inside+":22")))
	m.refuses(config, "Unreachable", "no outpost of network lab is connected")
	p := m.outpost(token, inside+":22")
	p.says("session begins", 1)
	p.kill()
	m.hub.says("outpost gone", 1)
	m.refuses(config, "Unreachable", "no outpost of network lab is connected, the last one went at")
}

// A token is replaced during a run: the hub ends the session of the old one,
// the outpost comes back with the new one.
func TestTokenIsRotated(t *testing.T) {
	m := newMeeting(t)
	token := m.token("lab/east")
	m.open()
	east := m.outpost(token, inside+":22")
	east.says("session begins", 1)
	r := m.begin(m.config(inside, m.via("lab", m.pass("me", "lab", "--to", inside+":22"))))
	r.until(20)
	m.token("lab/east", "--retire", "0s") // into the same file
	m.hub.says("the token of outpost lab/east expired at", 1)
	east.says("session begins", 2)
	r.end()
	if strings.Contains(east.text(), "token is not known") {
		t.Errorf("the new token was not known at once:\n%s", east.text())
	}

	// Withdrawn, it ends; it says why, and does not give up.
	if err := os.WriteFile(filepath.Join(m.keys, "hub", "tokens"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.hub.says("was withdrawn", 1)
	east.says("the token is not known here", 2)
}

// Settings that cannot be read leave the last ones in force.
func TestBadSettingsChangeNothing(t *testing.T) {
	m := newMeeting(t)
	token := m.token("lab/east")
	m.open()
	m.outpost(token, inside+":22").says("session begins", 1)
	m.file("keys/hub/tokens", "nonsense\n")
	m.hub.says("the last ones stay in force", 1)
	m.works(m.config(inside, m.via("lab", m.pass("me", "lab", "--to", inside+":22"))))
}

// A hub's own ways: a jump host, and a WireGuard tunnel. What opens them is the
// hub's alone.
func TestHubsOwnWays(t *testing.T) {
	m := newMeeting(t)
	m.start(m.private, "microsocks", "-i", edge, "-p", "1080")
	m.listens(m.cluster, edge+":1080")
	ep := m.sshd.Endpoint()
	m.file("keys/hub/gate.key", m.sshd.Clients[0].PEM)
	hostKey, err := json.Marshal(ep.HostKeys[0])
	if err != nil {
		t.Fatal(err)
	}
	peer := m.wireguard()
	m.file("keys/hub/lab.conf", peer)
	m.file("keys/hub/networks.yaml", fmt.Sprintf(`
networks:
  proxied:
    allow: [%s:22]
    via: [{url: socks5://%s:1080}]
  jumped:
    via: [{url: socks5://%s:1080}]
    jump: [{address: %s, user: %s, keyFile: gate.key, hostKeys: [%s]}]
  tunnelled:
    via: [{wireguard: lab.conf}]
`, inside, edge, edge, inside, ep.User, hostKey))
	m.open()
	for _, network := range []string{"proxied", "jumped", "tunnelled"} {
		host := inside
		if network == "jumped" { // the jump host itself is the machine, and sees this process's loopback
			host = ep.Host
		}
		config := m.config(host, m.via(network, m.pass(network, network, "--to", "*:*")))
		if network == "jumped" {
			b, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			config = m.file("config.yaml", strings.Replace(string(b), "address: "+ep.Host, fmt.Sprintf("port: %d, address: %s", ep.Port, ep.Host), 1))
		}
		m.works(config)
	}
	m.refuses(m.config(elsewhere, m.via("proxied", m.pass("me", "proxied", "--to", "*:*"))), "RouteRefused", "is not in the hub's list of allowed addresses of network proxied")
}

// terminate is not a crash: the process ends by itself.
func (p *process) terminate() int {
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

func TestHubAndOutpostEndOnSIGTERM(t *testing.T) {
	m := newMeeting(t)
	token := m.token("lab/east")
	m.open()
	east := m.outpost(token, inside+":22")
	east.says("session begins", 1)
	if code := m.hub.terminate(); code != 143 {
		t.Errorf("hub: exit code %d, want 143", code)
	}
	east.says("no session", 1)
	if code := east.terminate(); code != 143 {
		t.Errorf("outpost: exit code %d, want 143", code)
	}
}
