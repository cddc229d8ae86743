package forward_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/forward"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/reach"
)

func TestOut(t *testing.T) {
	m := newMachine(t)
	postgres, _ := serveHere(t, echo)
	sidecar, _ := serveHere(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		fmt.Fprintf(c, "%d bytes", len(b))
	})
	a, b := freePort(t), freePort(t)
	f := m.start(forward.Config{Dial: cluster(map[string]int{"postgres.db": postgres})}, nil, []forward.Out{
		{Port: a, To: "postgres.db:5432", Name: "postgres"},
		{Port: b, To: fmt.Sprintf("127.0.0.1:%d", sidecar)},
	}, false)
	if env := f.Proxy().Env(); env != nil {
		t.Errorf("variables without a proxy: %v", env)
	}
	for port, want := range map[int]string{a: "hello", b: "5 bytes"} {
		c, err := m.dial(port)
		if err != nil {
			t.Fatal(err) // they are there when Start returns
		}
		if got, err := ask(c, "hello"); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	var wg sync.WaitGroup
	for w := range 5 {
		wg.Go(func() {
			for i := range 40 {
				c, err := m.dial(a)
				if err != nil {
					t.Error(err)
					return
				}
				want := fmt.Sprintf("%d/%d", w, i)
				if got, err := ask(c, want); got != want || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				c.Close()
			}
		})
	}
	wg.Wait()
	f.Close()
	if _, err := m.dial(a); err == nil {
		t.Error("the machine still listens after Close")
	}
}

func TestOutPortTakenAndNobodyThere(t *testing.T) {
	m := newMachine(t)
	taken, leave := m.serve("127.0.0.1:0", func(c *net.TCPConn) { io.WriteString(c, "other") })
	service, _ := serveHere(t, func(c *net.TCPConn) { io.WriteString(c, "service") })
	dead := freePort(t)
	warned := make(chan string, 10)
	m.start(forward.Config{Warn: func(s string) { warned <- s }, Dial: cluster(nil)}, nil, []forward.Out{
		{Port: taken, To: fmt.Sprintf("127.0.0.1:%d", service), Name: "db"},
		{Port: dead, To: "nowhere.db:1"},
	}, false)
	if w := <-warned; !strings.Contains(w, fmt.Sprintf("port %d (db)", taken)) || !strings.Contains(w, "is taken") {
		t.Errorf("warned: %s", w)
	}
	leave()
	await(t, "the port is had at last", func() bool {
		c, err := m.dial(taken)
		if err != nil {
			return false
		}
		b, _ := io.ReadAll(c)
		return string(b) == "service"
	})
	for range 2 {
		c, err := m.dial(dead)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := ask(c, "x"); got != "" {
			t.Errorf("got %q from nowhere", got)
		}
	}
	if w := <-warned; !strings.Contains(w, "nowhere.db:1") {
		t.Errorf("warned: %s", w)
	}
	if len(warned) > 0 {
		t.Errorf("warned again: %s", <-warned)
	}
}

func TestForbidden(t *testing.T) {
	m := newMachine(t, "AllowTcpForwarding local")
	_, err := forward.Start(t.Context(), forward.Config{Client: m.host.Client}, nil, nil, &forward.Proxy{})
	if !fault.Is(err, fault.Config) || !strings.Contains(fault.Remedy(err), "AllowTcpForwarding yes") {
		t.Errorf("got %v; %s", err, fault.Remedy(err))
	}
	warned := make(chan string, 10)
	m.start(forward.Config{Warn: func(s string) { warned <- s }}, nil, []forward.Out{{Port: freePort(t), To: "a:1", Name: "db"}}, false)
	if w := <-warned; !strings.Contains(w, "AllowTcpForwarding yes") || !strings.Contains(w, "(db)") {
		t.Errorf("warned: %s", w)
	}
}

// With "GatewayPorts yes" sshd listens on all addresses whatever it is asked.
func TestOutRefusesOthersThanTheMachine(t *testing.T) {
	m := newMachine(t, "GatewayPorts yes")
	service, _ := serveHere(t, echo)
	port := freePort(t)
	m.start(forward.Config{}, nil, []forward.Out{{Port: port, To: fmt.Sprintf("127.0.0.1:%d", service)}}, false)
	if out, err := exec.Command("nsenter", "--net="+m.net.Path(), "ip", "addr", "add", "10.9.8.7/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Skipf("no second address for the machine: %v: %s", err, out)
	}
	var c net.Conn
	var err error
	m.net.Do(func() { c, err = net.Dial("tcp4", fmt.Sprintf("10.9.8.7:%d", port)) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, _ := ask(c.(*net.TCPConn), "x"); got != "" {
		t.Errorf("got %q as somebody from outside", got)
	}
	own, err := m.dial(port)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ask(own, "x"); got != "x" || err != nil {
		t.Errorf("got %q, %v from the machine itself", got, err)
	}
}

func TestProxyWithCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here")
	}
	m := newMachine(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s auth=%q", r.Method, r.Host, r.URL, b, r.Header.Get("Proxy-Authorization"))
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	f := m.start(forward.Config{Dial: cluster(map[string]int{"web": portOf(t, plain.URL), "tls.ns.svc.cluster.local": portOf(t, secure.URL)})}, nil, nil, true)
	proxy, socks := variable(f, "HTTP_PROXY"), variable(f, "all_proxy")
	at := strings.TrimPrefix(proxy[strings.Index(proxy, "@")+1:], "http://")
	for _, tt := range []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"HTTP by the variables", f.Proxy().Env(), []string{"http://web/a?b=c"}, `GET web /a?b=c  auth=""`},
		{"HTTPS by the variables", f.Proxy().Env(), []string{"-k", "https://tls.ns.svc.cluster.local/x"}, `GET tls.ns.svc.cluster.local /x  auth=""`},
		{"HTTP by SOCKS", nil, []string{"-x", socks, "http://web/"}, `GET web /  auth=""`},
		{"HTTPS by SOCKS", nil, []string{"-k", "-x", socks, "https://tls.ns.svc.cluster.local/"}, "GET tls"},
		{"a body", f.Proxy().Env(), []string{"-d", "data", "http://web/"}, `POST web / data auth=""`},
		{"two on one connection", f.Proxy().Env(), []string{"http://web/1", "http://web/2"}, `/1  auth=""GET web /2`},
		{"an address", f.Proxy().Env(), []string{plain.URL + "/ip", "--noproxy", "none"}, "/ip"},
		{"IPv4 by SOCKS", nil, []string{"-x", socks, "--noproxy", "none", plain.URL + "/ip"}, "/ip"},
		{"no such name", f.Proxy().Env(), []string{"http://nowhere/"}, "no such host"},
		{"no such name by SOCKS", nil, []string{"-x", socks, "http://nowhere/"}, "curl: (97)"},
		{"no password", nil, []string{"-x", "http://" + at, "http://web/"}, "wrong password, or none"},
		{"a wrong password", nil, []string{"-x", "http://outrigger:no@" + at, "-k", "https://web/"}, "407"},
		{"no password by SOCKS", nil, []string{"--socks5-hostname", at, "http://web/"}, "curl: (97)"},
		{"a wrong password by SOCKS", nil, []string{"-x", "socks5h://outrigger:no@" + at, "http://web/"}, "curl: (97)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, _ := m.run(tt.env, append([]string{"curl", "-sS", "--max-time", "60"}, tt.args...)...)
			if !strings.Contains(out, tt.want) {
				t.Errorf("curl %q: want %q in:\n%s", tt.args, tt.want, out)
			}
		})
	}
}

func TestProxyIsCutAndMadeAgain(t *testing.T) {
	m := newMachine(t)
	service, _ := serveHere(t, echo)
	port := freePort(t)
	f := m.start(forward.Config{Dial: cluster(map[string]int{"web": service})}, nil, []forward.Out{{Port: port, To: "web:80"}}, true)
	proxy := portOf(t, variable(f, "HTTP_PROXY"))
	through := func() error {
		c, err := m.dial(proxy)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := connectSOCKS(c, variable(f, "ALL_PROXY"), "web", 80); err != nil {
			return err
		}
		got, err := ask(c, "hello")
		if err == nil && got != "hello" {
			err = fmt.Errorf("got %q", got)
		}
		return err
	}
	if err := through(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m.line.Cut()
		await(t, "the proxy is back on its port", func() bool { return through() == nil })
		await(t, "the forward is back on its port", func() bool {
			c, err := m.dial(port)
			if err != nil {
				return false
			}
			got, err := ask(c, "hello")
			return got == "hello" && err == nil
		})
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		in   forward.In
		out  forward.Out
		says string
	}{
		{forward.In{Port: 0}, forward.Out{Port: 1, To: "a:1"}, "from 1 to 65535"},
		{forward.In{Port: 80}, forward.Out{Port: 80, To: "a:1"}, `the forward of port 80 to "a:1"`},
		{forward.In{Port: 80}, forward.Out{Port: 81, To: "a"}, "HOST:PORT"},
		{forward.In{Port: 80}, forward.Out{Port: 70000, To: "a:1"}, "from 1 to 65535"},
	} {
		_, err := forward.Start(t.Context(), forward.Config{}, []forward.In{tt.in}, []forward.Out{tt.out}, nil)
		if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v %v: want %q in: %v", tt.in, tt.out, tt.says, err)
		}
	}
}

// connectSOCKS is a client that stands for all that are not curl.
func connectSOCKS(c net.Conn, proxy, host string, port int) error {
	u, err := url.Parse(proxy)
	if err != nil {
		return err
	}
	password, _ := u.User.Password()
	user := u.User.Username()
	msg := []byte{5, 2, 0, 2, 1, byte(len(user))}
	msg = append(append(append(msg, user...), byte(len(password))), password...)
	msg = append(append(msg, 5, 1, 0, 3, byte(len(host))), host...)
	msg = binary.BigEndian.AppendUint16(msg, uint16(port))
	if _, err := c.Write(msg); err != nil {
		return err
	}
	answer := make([]byte, 2+2+10)
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if answer[5] != 0 {
		return fmt.Errorf("SOCKS answers %v", answer)
	}
	return nil
}

func variable(f *forward.Forwarder, name string) string {
	for _, kv := range f.Proxy().Env() {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	var port int
	fmt.Sscan(u.Port(), &port)
	return port
}

// A cable that is pulled: the machine's sshd has not noticed, and holds the
// proxy's port until it does.
func TestProxyIsHeldByALostConnection(t *testing.T) {
	m := newMachine(t, "ClientAliveInterval 3", "ClientAliveCountMax 2")
	ep := m.sshd.Endpoint()
	ep.Port = m.line.Port()
	h, err := host.Dial(t.Context(), host.Config{Endpoint: ep, Reach: reach.Options{Keepalive: time.Second, KeepaliveMisses: 2}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	m.host = h
	service, _ := serveHere(t, echo)
	warned := make(chan string, 10)
	f := m.start(forward.Config{Dial: cluster(map[string]int{"web": service}), Warn: func(s string) { warned <- s }}, nil, nil, true)
	through := func() bool {
		c, err := m.dial(portOf(t, variable(f, "HTTP_PROXY")))
		if err != nil {
			return false
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Second)) // the old sshd takes it and says nothing
		if connectSOCKS(c, variable(f, "ALL_PROXY"), "web", 80) != nil {
			return false
		}
		got, err := ask(c, "hello")
		return got == "hello" && err == nil
	}
	if !through() {
		t.Fatal("the proxy does not work")
	}
	before := m.listener(f.Proxy().Port)
	m.line.Vanish()
	if w := <-warned; !strings.Contains(w, fmt.Sprintf("port %d ", portOf(t, variable(f, "HTTP_PROXY")))) || !strings.Contains(w, "is taken") {
		t.Errorf("warned: %s", w)
	}
	// Not by connecting: sshd of OpenSSH 9.2 forgets to ask for signs of life
	// while its listeners are busy.
	await(t, "the old sshd leaves the port", func() bool { return m.listener(f.Proxy().Port) != before })
	await(t, "the proxy is back on its port", through)
}

// One who is restarted while programs on the machine go on gives them the proxy that they know.
func TestProxyOfTheOneBefore(t *testing.T) {
	m := newMachine(t)
	service, _ := serveHere(t, echo)
	warned := make(chan string, 10)
	cfg := forward.Config{Dial: cluster(map[string]int{"web": service}), Warn: func(s string) { warned <- s }}
	first := m.start(cfg, nil, nil, true)
	known := first.Proxy()
	through := func() bool {
		c, err := m.dial(known.Port)
		if err != nil {
			return false
		}
		defer c.Close()
		return connectSOCKS(c, variable(first, "ALL_PROXY"), "web", 80) == nil
	}
	// The one before still has the port: it is told, and had when that one leaves.
	waiting := make(chan *forward.Forwarder)
	go func() { waiting <- m.startWith(cfg, nil, nil, &known) }()
	if w := <-warned; !strings.Contains(w, fmt.Sprintf("port %d ", known.Port)) || !strings.Contains(w, "is taken") {
		t.Errorf("warned: %s", w)
	}
	second := <-waiting
	if second.Proxy() != known {
		t.Errorf("got %+v, want %+v", second.Proxy(), known)
	}
	first.Close()
	await(t, "the second has the port", through)
	second.Close()
	// When nobody has it, it is there when Start returns.
	m.startWith(cfg, nil, nil, &known)
	if !through() {
		t.Error("the third is not there")
	}
	if len(warned) > 0 {
		t.Errorf("warned again: %s", <-warned)
	}
}

// Two containers of a Pod have the same forwards: the second waits without a word.
func TestOutThatAnotherOfOursHas(t *testing.T) {
	m := newMachine(t)
	service, _ := serveHere(t, echo)
	out := forward.Out{Port: freePort(t), To: fmt.Sprintf("127.0.0.1:%d", service)}
	first := m.start(forward.Config{}, nil, []forward.Out{out}, false)
	asked := make(chan forward.Out, 100)
	m.start(forward.Config{Ours: func(o forward.Out) bool { asked <- o; return true }}, nil, []forward.Out{out}, false)
	if got := <-asked; got != out {
		t.Errorf("asked about %+v", got)
	}
	first.Close()
	await(t, "the second has the port", func() bool {
		c, err := m.dial(out.Port)
		if err != nil {
			return false
		}
		got, err := ask(c, "hello")
		return got == "hello" && err == nil
	})
}
