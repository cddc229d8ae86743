//go:build unix

package scenario

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/sshd"
)

// server starts an OpenSSH server, or does something to one that runs.
func server(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 1 || len(args) == 2, "sshd NAME [stop|restart|kill]")
	s, name := of(ts), args[0]
	if len(args) == 2 {
		srv := s.servers[name]
		if srv == nil {
			ts.Fatalf("no server was started under the name %s", name)
		}
		switch args[1] {
		case "stop":
			srv.Stop()
		case "restart":
			srv.Restart()
		case "kill":
			srv.Kill()
		default:
			ts.Fatalf("sshd %s %s: want stop, restart or kill", name, args[1])
		}
		return
	}
	srv := sshd.Start(s.tb, sshd.Options{})
	if s.servers == nil {
		s.servers = map[string]*sshd.Server{}
	}
	s.servers[name] = srv
	s.roots = append(s.roots, srv.Home)
	key := filepath.Join(s.work, name+".key")
	ts.Check(os.WriteFile(key, []byte(srv.Clients[0].PEM), 0o600))
	ts.Setenv(name+"_PORT", strconv.Itoa(srv.Port))
	ts.Setenv(name+"_USER", srv.User)
	ts.Setenv(name+"_HOME", srv.Home)
	ts.Setenv(name+"_KEY", key)
	ts.Setenv(name+"_HOSTKEY", srv.HostKeys[0].Line())
}

// proxyCmd puts a proxy before a port, or does something to one that runs.
func proxyCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 2, "proxy NAME PORT|cut|vanish|stall|resume")
	s := of(ts)
	p := s.proxies[args[0]]
	if p == nil {
		port, err := strconv.Atoi(args[1])
		if err != nil {
			ts.Fatalf("no proxy was started under the name %s", args[0])
		}
		started, err := faultproxy.Start(faultproxy.Config{Target: "127.0.0.1:" + strconv.Itoa(port)})
		ts.Check(err)
		if s.proxies == nil {
			s.proxies = map[string]*proxy{}
		}
		s.proxies[args[0]] = &proxy{Proxy: started}
		ts.Setenv(args[0]+"_PORT", strconv.Itoa(started.Port()))
		return
	}
	switch args[1] {
	case "cut":
		p.Cut()
	case "vanish":
		p.Vanish()
	case "stall":
		p.resume = p.Stall()
	case "resume":
		p.resume()
	default:
		ts.Fatalf("proxy %s %s: want cut, vanish, stall or resume", args[0], args[1])
	}
}
