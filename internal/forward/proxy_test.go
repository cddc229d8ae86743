package forward

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"
)

var known = Proxy{Port: 1, Password: "p"}

// served gives a client's words to the proxy and returns what it understood
// and what it answered.
func served(t *testing.T, words string) (request, string, error) {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	answer := make(chan string)
	go func() {
		b, _ := io.ReadAll(client)
		answer <- string(b)
	}()
	f := &Forwarder{proxy: known}
	req, err := f.ask(server, bufio.NewReaderSize(strings.NewReader(words), headLimit))
	server.Close()
	return req, <-answer, err
}

func TestAsk(t *testing.T) {
	pass := "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("outrigger:p")) + "\r\n"
	const socks = "\x05\x02\x00\x02\x01\x09outrigger\x01p"
	for _, tt := range []struct{ name, words, to, answer string }{
		{"SOCKS5 name", socks + "\x05\x01\x00\x03\x03web\x00\x50", "web:80", "\x05\x02\x01\x00"},
		{"SOCKS5 IPv4", socks + "\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50", "10.0.0.1:80", "\x05\x02\x01\x00"},
		{"SOCKS5 IPv6", socks + "\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50", "[::1]:80", "\x05\x02\x01\x00"},
		{"SOCKS5 BIND", socks + "\x05\x02\x00\x01\x0a\x00\x00\x01\x00\x50", "", "\x05\x02\x01\x00\x05\x07"},
		{"SOCKS5 unknown address", socks + "\x05\x01\x00\x09", "", "\x05\x02\x01\x00\x05\x08"},
		{"SOCKS5 no name", socks + "\x05\x01\x00\x03\x00\x00\x50", "", "\x05\x02\x01\x00\x05\x01"},
		{"SOCKS5 without a password", "\x05\x01\x00", "", "\x05\xff"},
		{"SOCKS5 wrong password", "\x05\x01\x02\x01\x09outrigger\x01q", "", "\x05\x02\x01\x01"},
		{"SOCKS5 cut short", "\x05\x02\x00", "", ""},
		{"SOCKS4", "\x04\x01\x00\x50\x00\x00\x00\x01u\x00web\x00", "", ""},
		{"CONNECT", "CONNECT web:443 HTTP/1.1\r\n" + pass + "\r\n", "web:443", ""},
		{"CONNECT IPv6", "CONNECT [fd00::1]:443 HTTP/1.1\r\n" + pass + "\r\n", "[fd00::1]:443", ""},
		{"CONNECT without a port", "CONNECT web HTTP/1.1\r\n" + pass + "\r\n", "", "HTTP/1.1 400 "},
		{"GET", "GET http://web/a HTTP/1.1\r\n" + pass + "\r\n", "web:80", ""},
		{"GET with a port", "GET http://web:81 HTTP/1.1\nproxy-authorization:basic " + base64.StdEncoding.EncodeToString([]byte("outrigger:p")) + "\n\n", "web:81", ""},
		{"GET IPv6", "GET http://[fd00::1]/ HTTP/1.1\r\n" + pass + "\r\n", "[fd00::1]:80", ""},
		{"GET without a server", "GET /a HTTP/1.1\r\nHost: web\r\n" + pass + "\r\n", "", "HTTP/1.1 400 "},
		{"no password", "GET http://web/ HTTP/1.1\r\n\r\n", "", "HTTP/1.1 407 "},
		{"wrong password", "CONNECT web:1 HTTP/1.1\r\nProxy-Authorization: Basic dTpx\r\n\r\n", "", "HTTP/1.1 407 "},
		{"nonsense", "hello\r\n\r\n", "", "HTTP/1.1 400 "},
		{"a long head", "GET http://web/ HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", headLimit), "", "HTTP/1.1 400 "},
		{"a long line", strings.Repeat("A", 2*headLimit), "", "HTTP/1.1 400 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, answer, err := served(t, tt.words)
			if req.to != tt.to || (err == nil) != (tt.to != "") || !strings.HasPrefix(answer, tt.answer) || tt.answer == "" && tt.to != "" && answer != "" {
				t.Errorf("to %q, answered %q, %v; want to %q, answer %q", req.to, answer, err, tt.to, tt.answer)
			}
		})
	}
}

func TestPlainRequestAsTheServerGetsIt(t *testing.T) {
	pass := "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("outrigger:p")) + "\r\n"
	for _, tt := range []struct{ name, words, want string }{
		{"one request a connection",
			"GET http://web:81/a?b#c HTTP/1.1\r\nHost: other\r\nConnection: keep-alive\r\nProxy-Connection: x\r\nA: b\r\n" + pass + "\r\n",
			"GET /a?b HTTP/1.1\r\nHost: web:81\r\nA: b\r\nConnection: close\r\n\r\n"},
		{"an upgrade",
			"GET http://web HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + pass + "\r\n",
			"GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, _, err := served(t, tt.words)
			if err != nil {
				t.Fatal(err)
			}
			client, server := net.Pipe()
			go func() {
				_ = req.begin(nil, server)
				server.Close()
			}()
			if got, _ := io.ReadAll(client); string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever a client says, it gets nowhere without the password.
func FuzzAsk(f *testing.F) {
	f.Add([]byte("\x05\x02\x00\x02\x01\x09outrigger\x01q\x05\x01\x00\x03\x03web\x00\x50"))
	f.Add([]byte("CONNECT web:443 HTTP/1.1\r\nProxy-Authorization: Basic dTpx\r\n\r\n"))
	f.Add([]byte("GET http://web:80/ HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, words []byte) {
		req, _, err := served(t, string(words))
		if err == nil {
			if _, _, split := net.SplitHostPort(req.to); split != nil {
				t.Errorf("leads to %q", req.to)
			}
			if !strings.Contains(string(words), "outrigger\x01p") && !strings.Contains(strings.ToLower(string(words)), "basic") {
				t.Errorf("in without a password: %q", words)
			}
		}
	})
}
