package reaching

import (
	"fmt"
	"testing"
)

func TestSOCKS5(t *testing.T) {
	s := newSite(t)
	s.start(s.private, "microsocks", "-i", edge, "-p", "1080")
	s.start(s.private, "microsocks", "-i", edge, "-p", "1081", "-u", "ci", "-P", "right")
	s.listens(s.cluster, edge+":1080")
	s.listens(s.cluster, edge+":1081")
	right, wrong := s.file("right", "right\n"), s.file("wrong", "wrong\n")

	s.works(s.config(inside, "[{url: socks5://"+edge+":1080}]"))
	s.works(s.config(inside, fmt.Sprintf("[{url: socks5://%s:1081, user: ci, passwordFile: %s}]", edge, right)))
	s.refuses(s.config(inside, fmt.Sprintf("[{url: socks5://%s:1081, user: ci, passwordFile: %s}]", edge, wrong)), "RouteRefused", "refuses user", "ci")
	s.refuses(s.config(inside, "[{url: socks5://"+edge+":1081}]"), "RouteRefused", "does not let us in without a user and password")
	s.refuses(s.config(elsewhere, "[{url: socks5://"+edge+":1080}]"), "Unreachable", "connection refused", "socks5://"+edge+":1080")
	s.refuses(s.config(inside, "[{url: socks5://"+edge+":1}]"), "Unreachable", "connection refused")
	s.refuses(s.config(inside, "[{url: http://"+edge+":1080}]"), "Unreachable", "http://"+edge+":1080")
}

// dante is another server of the protocol, with rules about addresses.
func TestSOCKS5WithRules(t *testing.T) {
	s := newSite(t)
	conf := s.file("danted.conf", `
logoutput: stderr
internal: `+edge+` port = 1080
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: `+inside+`/32 }
socks block { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`)
	s.start(s.private, "danted", "-f", conf, "-p", s.dir+"/danted.pid")
	s.listens(s.cluster, edge+":1080")
	s.works(s.config(inside, "[{url: socks5://"+edge+":1080}]"))
	s.refuses(s.config(elsewhere, "[{url: socks5://"+edge+":1080}]"), "RouteRefused", elsewhere, "not allowed by its rules")
}

func TestHTTPConnect(t *testing.T) {
	s := newSite(t)
	conf := func(name, port, more string) string {
		return s.file(name, "Port "+port+"\nListen "+edge+"\nTimeout 600\nMaxClients 100\nLogLevel Connect\n"+more)
	}
	s.start(s.private, "tinyproxy", "-d", "-c", conf("open.conf", "8888", "ConnectPort 22\n"))
	s.start(s.private, "tinyproxy", "-d", "-c", conf("closed.conf", "8889", "ConnectPort 443\n"))
	s.start(s.private, "tinyproxy", "-d", "-c", conf("login.conf", "8890", "ConnectPort 22\nBasicAuth ci right\n"))
	for _, port := range []string{"8888", "8889", "8890"} {
		s.listens(s.cluster, edge+":"+port)
	}
	right, wrong := s.file("right", "right\n"), s.file("wrong", "wrong\n")

	s.works(s.config(inside, "[{url: http://"+edge+":8888}]"))
	s.works(s.config(inside, fmt.Sprintf("[{url: http://%s:8890, user: ci, passwordFile: %s}]", edge, right)))
	s.refuses(s.config(inside, fmt.Sprintf("[{url: http://%s:8890, user: ci, passwordFile: %s}]", edge, wrong)), "RouteRefused", "HTTP status 40")
	s.refuses(s.config(inside, "[{url: http://"+edge+":8890}]"), "RouteRefused", "HTTP status 407")
	s.refuses(s.config(inside, "[{url: http://"+edge+":8889}]"), "RouteRefused", "HTTP status 403")
	s.refuses(s.config(elsewhere, "[{url: http://"+edge+":8888}]"), "Unreachable", "http://"+edge+":8888")
}

// One proxy behind another, as where an OpenConnect sidecar leads to a network
// that has a proxy of its own.
func TestChain(t *testing.T) {
	s := newSite(t)
	s.start(s.private, "microsocks", "-i", edge, "-p", "1080")
	s.start(s.private, "tinyproxy", "-d", "-c", s.file("tiny.conf", "Port 8888\nListen "+inside+"\nTimeout 600\nMaxClients 100\nConnectPort 22\n"))
	s.listens(s.cluster, edge+":1080")
	s.listens(s.private, inside+":8888")
	s.works(s.config(inside, fmt.Sprintf("[{url: socks5://%s:1080}, {url: http://%s:8888}]", edge, inside)))
}
