package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/test/faultproxy"
)

// A line is one way to the server.
type line struct {
	name string // for people
	host string // in ssh_config, and the provider's name
}

// bench is one call of the program.
type bench struct {
	options
	dir, bin string
}

func (b *bench) path(name ...string) string {
	return filepath.Join(append([]string{b.dir}, name...)...)
}

// open starts the server and the proxy before it and writes what clients need.
func (b *bench) open(ctx context.Context) (lines []line, stop func(), err error) {
	var ends []func()
	end := func() {
		for _, end := range ends {
			defer end()
		}
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	port, endServer, err := b.server(ctx)
	if err != nil {
		return nil, nil, err
	}
	ends = append(ends, endServer)
	lines = []line{{"loopback", "loopback"}}
	ports := map[string]int{"loopback": port}
	if b.rtt > 0 {
		p, err := faultproxy.Start(faultproxy.Config{
			Target: fmt.Sprintf("127.0.0.1:%d", port),
			Link:   faultproxy.Link{Delay: b.rtt / 2, BytesPerSec: int64(b.mbit * 1e6 / 8)},
		})
		if err != nil {
			return nil, nil, err
		}
		ends = append(ends, func() { p.Close() })
		name := fmt.Sprintf("round trip of %s", b.rtt)
		if b.mbit > 0 {
			name += fmt.Sprintf(", %g Mbit/s", b.mbit)
		}
		lines = append(lines, line{name, "far"})
		ports["far"] = p.Port()
	}
	return lines, end, b.clients(ports)
}

// server starts OpenSSH's server for the user who runs this.
func (b *bench) server(ctx context.Context) (port int, stop func(), err error) {
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd"
	}
	for _, dir := range []string{"far", "home"} {
		if err := os.MkdirAll(b.path(dir), 0o755); err != nil {
			return 0, nil, err
		}
	}
	// As root it gives up privileges into this folder, which Debian's package
	// makes only when the service starts.
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return 0, nil, err
		}
	}
	for _, key := range []string{"host", "user"} {
		if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", b.path(key)).CombinedOutput(); err != nil {
			return 0, nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	// sshd wants to know its port itself; between here and there it could be
	// taken, and then the wait below says so.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	// Sessions get an empty home: a shell's start-up file would be part of every number.
	conf := fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s\nAuthorizedKeysFile %s\nSetEnv HOME=%s\n", port, b.path("host"), b.path("user.pub"), b.path("far")) +
		"StrictModes no\nUsePAM no\nPidFile none\nPrintMotd no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
	if err := os.WriteFile(b.path("sshd_config"), []byte(conf), 0o600); err != nil {
		return 0, nil, err
	}
	cmd := exec.CommandContext(ctx, sshd, "-D", "-e", "-f", b.path("sshd_config"))
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for end := time.Now().Add(10 * time.Second); ; <-time.After(20 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return port, stop, nil
		}
		if time.Now().After(end) {
			stop()
			return 0, nil, errors.New("sshd does not answer: " + log.String())
		}
	}
}

// clients writes the files that ssh and outrigger read.
func (b *bench) clients(ports map[string]int) error {
	u, err := user.Current()
	if err != nil {
		return err
	}
	hostKey, err := os.ReadFile(b.path("host.pub"))
	if err != nil {
		return err
	}
	var known, ssh, config strings.Builder
	config.WriteString("providers:\n")
	for host, port := range ports {
		fmt.Fprintf(&known, "[127.0.0.1]:%d %s", port, hostKey)
		fmt.Fprintf(&ssh, "Host %s\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  LogLevel ERROR\n",
			host, port, u.Username, b.path("user"), b.path("known_hosts"))
		fmt.Fprintf(&config, "  %s:\n    ssh:\n      hosts:\n        - {address: 127.0.0.1, port: %d, user: %s, root: %s, keyFiles: [%s], hostKeys: [%q]}\n",
			host, port, u.Username, b.path("root-"+host), b.path("user"), strings.TrimSpace(string(hostKey)))
	}
	for name, text := range map[string]string{"known_hosts": known.String(), "ssh_config": ssh.String(), "config.yaml": config.String()} {
		if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// outrigger returns a command of ours, with a home of its own.
func (b *bench) outrigger(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "outrigger"), args...)
	cmd.Env = append(os.Environ(), "HOME="+b.path("home"), "OUTRIGGER_CONFIG="+b.path("config.yaml"),
		"XDG_STATE_HOME="+b.path("state"), "XDG_CONFIG_HOME="+b.path("home", "config"), "XDG_CACHE_HOME="+b.path("home", "cache"))
	return cmd
}
