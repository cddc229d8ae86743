package sshhost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// checkAddress refuses what is no host name and no IP address, such as the user@host:port of other tools.
func checkAddress(where, address string) error {
	if _, err := netip.ParseAddr(address); err == nil || !strings.ContainsAny(address, "@:/[] \t\n") {
		return nil
	}
	return fault.New(fault.Config, "ssh: %s: address %q is no host name and no IP address", where, address).
		WithRemedy("User and port have fields of their own: address: mac.example.com, user: ci, port: 2222")
}

// clientConfigLimit bounds `ssh -G`, which may run commands of the user's "Match exec" lines.
const clientConfigLimit = 10 * time.Second

// A clientConfig is what the user's ~/.ssh/config says of a host: keys in lower case as `ssh -G`
// prints them, each with its values in order.
type clientConfig map[string][]string

// readClientConfig asks OpenSSH itself what ~/.ssh/config says, since only it knows Include, Match
// and patterns. Without such a file, or without OpenSSH, nothing is said.
func readClientConfig(home, address string) (clientConfig, error) {
	file := filepath.Join(home, ".ssh", "config")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		return nil, nil //nolint:nilerr // a container has no OpenSSH, and nobody's aliases
	}
	ctx, cancel := context.WithTimeout(context.Background(), clientConfigLimit)
	defer cancel()
	var said bytes.Buffer
	c := exec.CommandContext(ctx, ssh, "-G", "-F", file, "--", address)
	c.Stderr = &said
	c.WaitDelay = time.Second
	out, err := c.Output()
	if err != nil {
		return nil, fault.New(fault.Config, "ssh: host %s: %s cannot be read: %w", address, file, err).
			WithDetail(strings.TrimSpace(said.String())).WithRemedy("Try: ssh -G %s", address)
	}
	all := clientConfig{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), " ")
		all[key] = append(all[key], value)
	}
	return all, nil
}

func (c clientConfig) one(key string) string {
	if v := c[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// files are the existing files that key names; none if they are OpenSSH's defaults, which package reach knows.
func (c clientConfig) files(key, home string, defaults ...string) []string {
	var files []string
	named := false // one of them is no default, so that they are what the user wants
	for _, value := range c[key] {
		for name := range strings.FieldsSeq(value) {
			if rest, ok := strings.CutPrefix(name, "~/"); ok {
				name = filepath.Join(home, rest)
			}
			isDefault := filepath.Base(filepath.Dir(name)) == ".ssh" && slices.Contains(defaults, filepath.Base(name))
			named = named || !isDefault
			if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
				files = append(files, name)
			}
		}
	}
	if !named {
		return nil
	}
	return files
}

// resolve replaces an alias by the host that the user's ~/.ssh/config means, with the user, port, keys,
// known hosts and jump hosts that it says and the configuration leaves open. An address to which it
// gives no other HostName is none.
func (l Login) resolve(home string) (_ Login, jumps []Login, err error) {
	if _, err := netip.ParseAddr(l.Address); err == nil {
		return l, nil, nil // nobody makes an alias of an address
	}
	said, err := readClientConfig(home, l.Address)
	if err != nil {
		return l, nil, err
	}
	name := said.one("hostname")
	if name == "" || strings.EqualFold(name, l.Address) {
		return l, nil, nil
	}
	alias := l.Address
	l.Address = name
	if l.User == "" {
		l.User = said.one("user")
	}
	if l.Port == 0 {
		if l.Port, err = strconv.Atoi(said.one("port")); err != nil {
			return l, nil, fault.New(fault.Config, "ssh: host %s: port in ~/.ssh/config: %w", alias, err)
		}
	}
	if len(l.Keys)+len(l.KeyFiles) == 0 && !l.Agent && l.Password.Empty() {
		l.KeyFiles = said.files("identityfile", home, "id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_dsa", "id_xmss")
	}
	if len(l.HostKeys)+len(l.KnownHosts) == 0 {
		l.KnownHosts = said.files("userknownhostsfile", home, "known_hosts", "known_hosts2")
		if len(l.KnownHosts) > 0 {
			l.KnownHosts = append(l.KnownHosts, said.files("globalknownhostsfile", home)...)
		}
		l.knownAs = said.one("hostkeyalias")
	}
	jumps, err = said.jumps(home)
	return l, jumps, err
}

// jumps are the hosts of ProxyJump, in order; each may be an alias again.
func (c clientConfig) jumps(home string) ([]Login, error) {
	if v := c.one("proxyjump"); v == "" || v == "none" {
		return nil, nil
	}
	var all []Login
	for hop := range strings.SplitSeq(c.one("proxyjump"), ",") {
		l := Login{Address: strings.TrimPrefix(hop, "ssh://")}
		if user, rest, ok := cutLast(l.Address, "@"); ok {
			l.User, l.Address = user, rest
		}
		if host, port, ok := cutLast(l.Address, ":"); ok {
			n, err := strconv.Atoi(port)
			if err != nil {
				return nil, fault.New(fault.Config, "ssh: ProxyJump %q in ~/.ssh/config: %w", hop, err)
			}
			l.Address, l.Port = strings.Trim(host, "[]"), n
		}
		l, more, err := l.resolve(home)
		if err != nil {
			return nil, err
		}
		all = append(append(all, more...), l)
	}
	return all, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
