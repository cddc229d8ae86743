package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/config"
	"outrigger.dev/outrigger/internal/fault"
)

func TestParseNamesMistakesWithTheirPlace(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"every key", `
default: macs
providers:
  macs:
    ssh:
      hosts:
        - name: mini
          address: mini.example.com
          port: 2222
          user: ci
          slots: 2
          os: darwin
          arch: arm64
          root: /Users/ci/.outrigger
          labels: {rack: "3"}
          keyFiles: [~/.ssh/id_ed25519]
          agent: true
          hostKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEsv8rFjzZkE1XfXo0pVQwOcM2aHqJ2mWNvUOEpRzrfm]
          passwordEnv: MINI_PASSWORD
          jump:
            - {address: bastion.example.com, passwordFile: secrets/bastion}
  here: {local: {}}
  plain:
    local:
  big:
    qemu: {cpus: 4, memoryMiB: 8192, bootTimeout: 90s}
  orka:
    orka:
      endpoint: http://10.221.188.20
      tokenCommand: [orka3, user, get-token]
      namespace: orka-ci
      door: rest
      image: ghcr.io/macstadium/orka-images/sonoma:latest
      cpus: 4
      memoryMiB: 8192
      tag: fast
      tagRequired: true
      reservedPorts: ["9000:80", "9001:81/udp"]
      netBoost: false
      metadata: {team: ios}
      addresses: {"10.221.189.13": mac.example.com}
      network: nat
      identity: require
      deployTimeout: 20m
      fields: {metadata: metadata}
run:
  exclude: [node_modules/, "*.o"]
  env: {CI: "true"}
  image: debian
  at: /workspace
  timeout: 1h
  absence: 5m
  bootTimeout: 2m
  expires: 8h
`, ""},
		{"a mistyped section", "provider: {}\n", `c.yaml:1:1: unknown key "provider", did you mean "providers"?`},
		{"a default that is not there", "default: quemu\n", `c.yaml:1:1: no provider is called "quemu", did you mean "qemu"?`},
		{"a default like nothing", "default: cloud\n", `c.yaml:1:1: no provider is called "cloud", there are: local, qemu`},
		{"a mistyped type is said once", "providers:\n  macs:\n    shh: {}\n", `c.yaml:3:5: unknown key "shh", did you mean "ssh"?`},
		{"no type", "providers:\n  macs: {}\n", `c.yaml:2:3: says no type: want one of local, ssh, qemu, orka`},
		{"two types", "providers:\n  x:\n    local: {}\n    qemu: {}\n", `c.yaml:2:3: says local and qemu: want exactly one type`},
		{"no hosts", "providers:\n  x:\n    ssh: {}\n", `c.yaml:3:5: lists no hosts`},
		{"a host without an address", "providers:\n  x:\n    ssh:\n      hosts:\n        - user: ci\n", `c.yaml:5:11: has no address`},
		{"two hosts of one name", "providers:\n  x:\n    ssh:\n      hosts:\n        - {name: a, address: a}\n        - {name: a, address: b}\n", `c.yaml:6:12: a second host called "a"`},
		{"a port that is none", "providers:\n  x:\n    ssh:\n      hosts:\n        - {address: a, port: 65536}\n", `c.yaml:5:24: 65536 is no port: want 1 to 65535`},
		{"two passwords", "providers:\n  x:\n    ssh:\n      hosts:\n        - {address: a, passwordEnv: A, passwordFile: b}\n",
			`c.yaml:5:11: has 2 passwords: want at most one of passwordFile, passwordEnv, passwordCommand`},
		{"a jump host without an address", "providers:\n  x:\n    ssh:\n      hosts:\n        - address: a\n          jump:\n            - user: u\n", `c.yaml:7:15: has no address`},
		{"a name that is no name", "providers:\n  My Mac:\n    local: {}\n", `c.yaml:2:3: provider name "My Mac": want at most 63 of a-z, 0-9 and "-", starting and ending with a letter or digit`},
		{"what the provider itself refuses", "providers:\n  x:\n    qemu: {cpus: 1000}\n", `c.yaml:3:5: qemu: cpus: 1000 is not in 1 to 255`},
		{"an Orka without anything", "providers:\n  x:\n    orka: {}\n", `c.yaml: 2 mistakes
c.yaml:3:5: orka: endpoint "": want the URL of an Orka cluster
c.yaml:3:5: has no token: want one of tokenFile, tokenEnv, tokenCommand`},
		{"two tokens", "providers:\n  x:\n    orka: {endpoint: 'http://o', tokenEnv: A, tokenFile: b}\n", `c.yaml:3:5: has 2 tokens: want at most one of tokenFile, tokenEnv, tokenCommand`},
		{"an Orka door that is none", "providers:\n  x:\n    orka: {endpoint: 'http://o', tokenEnv: A, door: side}\n", `c.yaml:3:5: orka: door: "side" is none of auto, kubernetes, rest`},
		{"a name that is not in doubt", "providers:\n  x:\n    orka: {endpoint: 'http://o', tokenEnv: A, fields: {cpu: cores}}\n", `c.yaml:3:5: orka: fields: "cpu" is no name that is in doubt`},
		{"a variable that is none", "run:\n  env:\n    A=B: c\n", `c.yaml:3:5: "A=B" cannot be the name of a variable`},
		{"a path that is not absolute", "run:\n  at: work\n", `c.yaml:2:3: "work": want an absolute path with forward slashes, such as /workspace`},
		{"all at once", "dfault: x\nrun:\n  timeout: 5\n  exclude: a\n", `c.yaml: 3 mistakes
c.yaml:1:1: unknown key "dfault", did you mean "default"?
c.yaml:3:12: found the number 5, want a duration such as 90s or 8h
c.yaml:4:12: found the text "a", want a list: [a, b]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse("c.yaml", []byte(tt.in), "/home/me")
			if diff := cmp.Diff(tt.want, text(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s\nof:\n%s", diff, tt.in)
			}
			if err != nil && !fault.Is(err, fault.Config) {
				t.Errorf("fault of kind %s, want Config", fault.Of(err))
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	var f *fault.Error
	if errors.As(err, &f) && f.Detail != "" {
		return strings.TrimPrefix(f.Text, "config: ") + "\n" + f.Detail
	}
	return strings.TrimPrefix(err.Error(), "config: ")
}

func TestWithoutAFileThereAreTheBuiltins(t *testing.T) {
	c, err := config.Load(filepath.Join(t.TempDir(), "config.yaml"), false, "/home/me")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"local", "qemu"}, c.Names()); diff != "" {
		t.Errorf("providers (-want +got):\n%s", diff)
	}
	if name, e, err := c.Provider(""); name != "local" || e.Type() != "local" || err != nil {
		t.Errorf("default provider: %q of type %q, %v; want local", name, e.Type(), err)
	}
	if c.File != "" || c.Run.Absence != config.DefaultAbsence {
		t.Errorf("file %q, absence %s", c.File, c.Run.Absence)
	}
}

func TestAFileThatWasNamedMustExist(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "my.yaml"), true, "/home/me")
	if !fault.Is(err, fault.Config) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "my.yaml") {
		t.Errorf("got %v, want a Config fault that names the file", err)
	}
}

func TestABuiltinMayBeReplaced(t *testing.T) {
	c, err := config.Parse("c.yaml", []byte("providers: {qemu: {qemu: {cpus: 7}}}"), "/home/me")
	if err != nil {
		t.Fatal(err)
	}
	if _, e, _ := c.Provider("qemu"); e.QEMU == nil || e.QEMU.CPUs != 7 {
		t.Errorf("qemu: %+v, want 7 cpus", e.QEMU)
	}
	if _, _, err := c.Provider("quemu"); !fault.Is(err, fault.UnknownProvider) || !strings.Contains(err.Error(), `did you mean "qemu"?`) {
		t.Errorf("unknown provider: %v", err)
	}
}

func TestFileNamesStartAtTheFileOrAtHome(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	c, err := config.Parse(filepath.Join(dir, "c.yaml"), []byte(`
providers:
  x:
    ssh:
      hosts:
        - address: a
          keyFiles: [~/.ssh/id, keys/id, `+filepath.ToSlash(filepath.Join(dir, "abs"))+`]
`), home)
	if err != nil {
		t.Fatal(err)
	}
	_, e, _ := c.Provider("x")
	want := []string{filepath.Join(home, ".ssh/id"), filepath.Join(dir, "keys/id"), filepath.Join(dir, "abs")}
	for i, got := range e.SSH.Hosts[0].KeyFiles {
		if filepath.Clean(got) != want[i] {
			t.Errorf("key file %d: %s, want %s", i, got, want[i])
		}
	}
	if _, err := c.CheckFiles(); err == nil || strings.Count(text(err), "c.yaml:7:") != 3 {
		t.Errorf("CheckFiles: got %q, want three missing files in line 7", text(err))
	}
}

func TestDirsFollowTheEnvironment(t *testing.T) {
	if filepath.Separator != '/' {
		t.Skip("names of Unix")
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		want config.Dirs
	}{
		{"home alone", map[string]string{"HOME": "/h"}, config.Dirs{Home: "/h", Config: "/h/.config/outrigger", State: "/h/.local/state/outrigger"}},
		{"XDG", map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, config.Dirs{Home: "/h", Config: "/c/outrigger", State: "/s/outrigger"}},
		{"relative XDG is ignored", map[string]string{"HOME": "/h", "XDG_STATE_HOME": "s"}, config.Dirs{Home: "/h", Config: "/h/.config/outrigger", State: "/h/.local/state/outrigger"}},
		{"our own", map[string]string{"HOME": "/h", "XDG_STATE_HOME": "/s", "OUTRIGGER_STATE_DIR": "/o"}, config.Dirs{Home: "/h", Config: "/h/.config/outrigger", State: "/o"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := config.FindDirs(func(k string) string { return tt.env[k] })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := config.FindDirs(func(string) string { return "" }); !fault.Is(err, fault.Config) {
		t.Errorf("no home: %v", err)
	}
}

// FuzzParse: whatever the file holds, there is a usable answer or a fault of kind Config.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "default: qemu\n", "providers: {x: {ssh: {hosts: [{address: a, jump: [{address: b}]}]}}}", "run: {timeout: 1h, env: {A: b}}", "providers: {x: }", "providers: [a]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("c.yaml", data, "/home/me")
		if err != nil {
			if !fault.Is(err, fault.Config) {
				t.Errorf("fault of kind %s, want Config: %v", fault.Of(err), err)
			}
			return
		}
		if _, e, err := c.Provider(""); err != nil || e.Type() == "" {
			t.Errorf("no usable default provider: %+v, %v", e, err)
		}
		if c.Run.Timeout < 0 || c.Run.Absence <= 0 || c.Run.BootTimeout <= time.Duration(0) {
			t.Errorf("limits %+v", c.Run)
		}
	})
}
