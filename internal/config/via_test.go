package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/config"
	"outrigger.dev/outrigger/internal/fault"
)

func TestMistakesOnTheWay(t *testing.T) {
	for via, says := range map[string]string{
		"[{}]":                                                          "names 0 ways: want exactly one of url, hub, wireguard",
		"[{url: 'http://p', hub: 'https://h'}]":                         "names 2 ways",
		"[{url: 'ftp://p'}]":                                            "want socks5://HOST:PORT",
		"[{url: 'http://u:pw@p'}]":                                      "have settings of their own",
		"[{hub: 'https://h'}]":                                          "names no network",
		"[{hub: 'https://h', network: n}]":                              "has no pass",
		"[{hub: 'http://h', network: n, passwordEnv: P}]":               "want https://HOST:PORT",
		"[{hub: 'https://h', network: n, passwordEnv: P, user: u}]":     "takes no user",
		"[{url: 'http://p', network: n}]":                               "only a hub has networks",
		"[{url: 'http://p'}, {wireguard: f}]":                           "can only be the first step",
		"[{wireguard: f, user: u}]":                                     "its file holds everything",
		"[{url: 'http://p', user: u, passwordEnv: P, passwordFile: f}]": "has 2 passwords",
		"[{urll: 'http://p'}]":                                          `did you mean "url"?`,
	} {
		_, err := config.Parse("c.yaml", []byte("providers:\n  x:\n    ssh: {hosts: [{address: a}]}\n    via: "+via+"\n"), "/h")
		text := ""
		if err != nil {
			text = err.Error() + detail(err)
		}
		if !fault.Is(err, fault.Config) || !strings.Contains(text, says) || !strings.Contains(text, "c.yaml:4:") || strings.Contains(text, "pw@") {
			t.Errorf("%s: %s, want line 4 and %q", via, text, says)
		}
	}
	if _, err := config.Parse("c.yaml", []byte("providers: {x: {qemu: {}, via: [{url: 'http://p'}]}}"), "/h"); err == nil || !strings.Contains(err.Error(), "nothing is on the way to them") {
		t.Errorf("qemu: %v", err)
	}
}

func TestViaIsResolved(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"pass": "p4ss\n", "ca": "pem", "wg": "conf"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Parse(filepath.Join(dir, "c.yaml"), []byte(`providers: {x: {ssh: {hosts: [{address: a}]}, via: [
		{wireguard: wg}, {url: "socks5://p", user: u, passwordEnv: PW}, {hub: "https://h:8443", network: n, passwordFile: pass, caFile: ca}]}}`), dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Via(t.Context(), "x", config.Secrets{Getenv: func(string) string { return "from env" }})
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	if w := got[0]; w.WireGuard.Reveal() != "conf" || w.URL != "" {
		t.Errorf("tunnel: %+v", w)
	}
	if p := got[1]; p.URL != "socks5://p" || p.User != "u" || p.Password.Reveal() != "from env" {
		t.Errorf("proxy: %+v", p)
	}
	if h := got[2]; h.URL != "https://h:8443" || h.User != "n" || h.Password.Reveal() != "p4ss" || h.CA != "pem" || h.String() != "network n of hub https://h:8443" {
		t.Errorf("hub: %+v", h)
	}
}

func detail(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return "\n" + f.Detail
	}
	return ""
}
