package via_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach/via"
)

// proxy answers what a proxy would, and returns what it was told.
func dialVia(t testing.TB, step machine.Via, to string, serve func(net.Conn)) (net.Conn, error) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(far)
		far.Close()
	}()
	t.Cleanup(func() {
		near.Close()
		<-done
	})
	base := func(context.Context, string, string) (net.Conn, error) { return near, nil }
	dial, err := via.Through(base, []machine.Via{step}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return dial(ctx, "tcp", to)
}

// readRequest reads an HTTP request up to its empty line.
func readRequest(c net.Conn) string {
	var got []byte
	one := make([]byte, 1)
	for !strings.HasSuffix(string(got), "\r\n\r\n") {
		if _, err := c.Read(one); err != nil {
			break
		}
		got = append(got, one[0])
	}
	return string(got)
}

// What the machine says in the same packet as the proxy's answer is not lost.
func TestConnectKeepsWhatFollows(t *testing.T) {
	var asked string
	c, err := dialVia(t, machine.Via{URL: "http://p", User: "ci", Password: machine.NewSecret("pw")}, "mini:22", func(c net.Conn) {
		asked = readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\nX: y\r\n\r\nSSH-2.0-x\r\n")
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if string(got) != "SSH-2.0-x\r\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	want := "CONNECT mini:22 HTTP/1.1\r\nHost: mini:22\r\nProxy-Authorization: Basic Y2k6cHc=\r\n\r\n"
	if asked != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestConnectRefused(t *testing.T) {
	for answer, tt := range map[string]struct {
		kind fault.Kind
		says string
	}{
		"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n":                                     {fault.RouteRefused, "Proxy Authentication Required (HTTP status 407)"},
		"HTTP/1.1 403 Forbidden\r\nproxy-status: h; error=x; details=\"not \\\"so\\\"\"\r\n\r\n": {fault.RouteRefused, `not "so" (HTTP status 403)`},
		"HTTP/1.1 502 Bad Gateway\r\n\r\n":                                                       {fault.Unreachable, "Bad Gateway"},
		"HTTP/1.1 503\r\n\r\n":                                                                   {fault.Unreachable, "HTTP status 503"},
		"HTTP/1.1 200\r\n" + strings.Repeat("X: "+strings.Repeat("y", 100)+"\r\n", 100) + "\r\n": {fault.Unreachable, "more than 8192 bytes"},
		"SSH-2.0-OpenSSH_9.2\r\n\r\n":                                                            {fault.Unreachable, "does not answer as an HTTP proxy does"},
		"HTTP/1.1 twohundred\r\n\r\n":                                                            {fault.Unreachable, "does not answer as an HTTP proxy does"},
		"HTTP/1.1 403 a\x1b[31mb\r\n\r\n":                                                        {fault.RouteRefused, `a\x1b[31mb`},
		"HTTP/1.1 2":                                                                             {fault.Unreachable, "unexpected EOF"},
		"":                                                                                       {fault.Unreachable, "closed the connection without an answer"},
		"HTTP/1.1 403 Forbidden\r\nProxy-Status: h; details=\"" + strings.Repeat("\\", 50) + "\r\n\r\n": {fault.RouteRefused, "403"},
	} {
		_, err := dialVia(t, machine.Via{URL: "http://p"}, "mini:22", func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, answer) // it fails when the client has heard enough
		})
		if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.60q: %v of kind %s, want %s and %q", answer, err, fault.Of(err), tt.kind, tt.says)
		}
	}
}

// A proxy that accepts and says nothing is given up with the context.
func TestSilentProxy(t *testing.T) {
	for _, url := range []string{"http://p", "https://p", "socks5://p"} {
		near, far := net.Pipe()
		defer far.Close()
		dial, err := via.Through(func(context.Context, string, string) (net.Conn, error) { return near, nil }, []machine.Via{{URL: url}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, _ = far.Read(make([]byte, 1)) // it has begun to speak
			cancel()
			_, _ = io.Copy(io.Discard, far)
		}()
		if _, err := dial(ctx, "tcp", "mini:22"); !fault.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "gave up") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A proxy that is not there, breaks off or is not to be trusted says nothing of what lies behind it; one that answers does.
func TestWhatIsWrongWithTheStep(t *testing.T) {
	step := machine.Via{URL: "http://proxy:3128"}
	refused := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	dial, err := via.Through(refused, []machine.Via{step}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, away := dial(t.Context(), "tcp", "mac:22")
	_, broken := dialVia(t, step, "mac:22", func(net.Conn) {})
	_, unknown := dialVia(t, step, "mac:22", func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
	})
	for _, tt := range []struct {
		name string
		err  error
		step bool
	}{{"refuses connections", away, true}, {"breaks off", broken, true}, {"does not reach the machine", unknown, false}} {
		var wrong *via.StepError
		if got := errors.As(tt.err, &wrong); tt.err == nil || got != tt.step || !fault.Is(tt.err, fault.Unreachable) {
			t.Errorf("a proxy that %s: %v; an error of the step: %t, want %t", tt.name, tt.err, got, tt.step)
		}
	}
}

func TestMistakesOfSteps(t *testing.T) {
	wg := machine.NewSecret("x")
	for what, tt := range map[string]struct {
		steps []machine.Via
		says  string
	}{
		"scheme":                    {[]machine.Via{{URL: "ftp://x"}}, "want socks5://HOST:PORT"},
		"nothing":                   {[]machine.Via{{}}, "want socks5://HOST:PORT"},
		"no host":                   {[]machine.Via{{URL: "http://"}}, "want socks5://HOST:PORT"},
		"a path":                    {[]machine.Via{{URL: "http://x/y"}}, "want socks5://HOST:PORT"},
		"a password in it":          {[]machine.Via{{URL: "http://u:hunter2@x"}}, "have settings of their own"},
		"nonsense with password":    {[]machine.Via{{URL: "http://u:hunter2@x:%zz"}}, "cannot be understood"},
		"bad CA":                    {[]machine.Via{{URL: "https://x", CA: "nonsense"}}, "no certificate in PEM format"},
		"two at once":               {[]machine.Via{{URL: "http://x", WireGuard: wg}}, "want one"},
		"WireGuard behind":          {[]machine.Via{{URL: "http://x"}, {WireGuard: wg}}, "can only be the first step"},
		"WireGuard without tunnels": {[]machine.Via{{WireGuard: wg}}, "carries no WireGuard"},
	} {
		err := via.Check(tt.steps, nil)
		if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", what, err, tt.says)
		}
	}
}

// Whatever a proxy answers, there is a connection or a fault that says which.
func FuzzAnswers(f *testing.F) {
	f.Add("http://p", []byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add("http://p", []byte("HTTP/1.1 407 No\r\nProxy-Status: x; details=\"\\"))
	f.Add("socks5://p", []byte("\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"))
	f.Add("socks5://p", []byte("\x05\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, url string, answer []byte) {
		if url != "http://p" && url != "socks5://p" {
			return
		}
		c, err := dialVia(t, machine.Via{URL: url, User: "u", Password: machine.NewSecret("p")}, "mini:22", func(c net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, c) }()
			_, _ = c.Write(answer)
		})
		if err == nil {
			c.Close()
		} else if k := fault.Of(err); k != fault.Unreachable && k != fault.RouteRefused {
			t.Errorf("fault of kind %s: %v", k, err)
		}
	})
}
