//go:build unix

// Package sshd runs real OpenSSH servers on loopback for tests.
//
// Each connection gets an sshd process of its own (sshd -i), so a port is never
// guessed, the server can be stopped, started again on the same port, or killed under its
// connections, and nothing stays behind. As root the sessions are those of an
// unprivileged user, which is made at first use; else those of the user who
// runs the test.
package sshd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/machine"
)

// Options say how a server differs from the plain one: a host key and a client
// key of its own, and no other way in.
type Options struct {
	HostKeys []*Key   // default: one new ed25519 key
	HostCA   *Key     // signs certificates for the host keys; the server then shows those
	Clients  []*Key   // who may log in; default: one new ed25519 key
	UserCA   *Key     // whose certificates may log in too
	Password bool     // let in a second user by password, see [Server.Password]; needs root
	Env      []string // NAME=value for the sessions
	Lines    []string // further lines of sshd_config, which win over our own
	Net      string   // path of a network namespace for the sessions and forwards; needs root

	// Another system: the command by which sshd gets there, and whose sessions are given. The
	// configuration and the keys in /tmp must be there too.
	Enter []string
	User  string
	Home  string
}

// A Server is an SSH server that runs until the test ends.
type Server struct {
	Host     string // 127.0.0.1
	Port     int
	User     string
	Home     string // of the sessions; empty at first
	HostKeys []*Key
	Clients  []*Key
	Password machine.Secret // of User, if asked for

	tb    testing.TB
	path  string // of sshd
	conf  string
	enter []string
	other bool // the sessions are another system's
	log   *os.File

	mu    sync.Mutex
	ln    net.Listener // nil while stopped
	procs map[*exec.Cmd]bool
	wg    sync.WaitGroup
}

// Start starts a server, or skips the test where there is no sshd.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	path, err := exec.LookPath("sshd")
	if err != nil {
		path = "/usr/sbin/sshd"
	}
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("no OpenSSH server here: %v", err)
	}
	if len(o.HostKeys) == 0 {
		o.HostKeys = []*Key{NewKey(tb, "ed25519")}
	}
	if len(o.Clients) == 0 {
		o.Clients = []*Key{NewKey(tb, "ed25519")}
	}
	s := &Server{Host: "127.0.0.1", HostKeys: o.HostKeys, Clients: o.Clients, tb: tb, path: path, enter: o.Enter, other: o.User != "", procs: map[*exec.Cmd]bool{}}
	if o.Net != "" { // the connection is a file by then, and works in any
		s.enter = []string{"nsenter", "--net=" + o.Net}
	}
	s.setup(o)
	s.listen("127.0.0.1:0")
	tb.Cleanup(s.end)
	return s
}

// Endpoint returns how to reach the server: its host keys pinned, its first
// client key in memory.
func (s *Server) Endpoint() machine.Endpoint {
	ep := machine.Endpoint{Host: s.Host, Port: s.Port, User: s.User, Auth: machine.Auth{Password: s.Password}}
	for _, k := range s.HostKeys {
		ep.HostKeys = append(ep.HostKeys, k.Line())
	}
	if len(s.Clients) > 0 {
		ep.Auth.Keys = []machine.Secret{s.Clients[0].Secret()}
	}
	return ep
}

// Stop refuses new connections until [Server.Restart]; open ones go on.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		s.ln.Close()
		s.ln = nil
	}
}

// Restart accepts connections again after [Server.Stop], on the same port.
func (s *Server) Restart() { s.listen(fmt.Sprintf("127.0.0.1:%d", s.Port)) }

// Kill kills the server processes of all open connections, as a crash would.
// What runs in their sessions goes on.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.procs {
		// The process is a group leader; the group is sshd alone, since sessions make their own.
		if err := syscall.Kill(-p.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.tb.Errorf("sshd: kill: %v", err)
		}
	}
}

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.procs)
}

// Log returns what the server wrote.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		s.tb.Errorf("sshd: log: %v", err)
	}
	return string(b)
}

// Dir makes an empty folder that the sessions' user owns.
func (s *Server) Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "outrigger-sshd-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("sshd: %v", err)
		}
	})
	own(tb, dir, s.User)
	return dir
}

// setup writes the configuration.
func (s *Server) setup(o Options) {
	tb := s.tb
	switch {
	case o.User != "":
		s.User, s.Home = o.User, o.Home
	case o.Password:
		s.User, s.Password = passwordUser(tb)
	default:
		s.User = sessionUser(tb)
	}
	if s.Home == "" {
		s.Home = s.Dir(tb)
	}
	dir, err := os.MkdirTemp("", "outrigger-sshd-conf-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // authorized_keys is read as the user
		tb.Fatal(err)
	}
	file := func(name, content string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			tb.Fatal(err)
		}
		return name
	}
	var authorized strings.Builder
	for _, k := range o.Clients {
		authorized.WriteString(k.Line() + "\n")
	}
	lines := append([]string{}, o.Lines...)
	env := o.Env
	if o.User == "" { // of another system's user that one knows the home
		env = append([]string{"HOME=" + s.Home}, env...)
	}
	if len(env) > 0 {
		lines = append(lines, "SetEnv "+strings.Join(env, " "))
	}
	lines = append(lines,
		"StrictModes no", "UsePAM no", "PidFile none", "PrintMotd no", "MaxStartups 1000", "MaxSessions 100",
		"AcceptEnv LANG LC_* TEST_*",
		"PasswordAuthentication "+yes(o.Password),
		"KbdInteractiveAuthentication no",
		"AuthorizedKeysFile "+file("authorized_keys", authorized.String(), 0o644))
	if !strings.Contains(strings.Join(o.Lines, "\n"), "Subsystem sftp") { // sshd takes one only
		lines = append(lines, "Subsystem sftp internal-sftp")
	}
	for i, k := range o.HostKeys {
		name := file(fmt.Sprintf("host_%d", i), k.PEM, 0o600)
		lines = append(lines, "HostKey "+name)
		if o.HostCA != nil {
			cert := o.HostCA.Sign(tb, k, ssh.HostCert, s.Host)
			lines = append(lines, "HostCertificate "+file(fmt.Sprintf("host_%d-cert.pub", i), cert, 0o644))
		}
	}
	if o.UserCA != nil {
		lines = append(lines, "TrustedUserCAKeys "+file("user_ca.pub", o.UserCA.Line()+"\n", 0o644))
	}
	s.conf = file("sshd_config", strings.Join(lines, "\n")+"\n", 0o600)
	s.log, err = os.Create(filepath.Join(dir, "log"))
	if err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.Command(s.path, "-t", "-f", s.conf).CombinedOutput(); err != nil {
		tb.Fatalf("sshd: configuration: %v\n%s", err, out)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (s *Server) listen(address string) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.mu.Lock()
	s.ln = ln
	s.mu.Unlock()
	if s.Port == 0 { // it stays the same over restarts
		s.Port = ln.Addr().(*net.TCPAddr).Port
	}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed by Stop
			}
			s.serve(c.(*net.TCPConn))
		}
	})
}

// serve gives a connection to an sshd of its own.
func (s *Server) serve(c *net.TCPConn) {
	defer c.Close()
	// As sshd would get it from its own listener; Go's sets this option.
	if err := c.SetNoDelay(false); err != nil {
		s.tb.Errorf("sshd: %v", err)
	}
	f, err := c.File()
	if err != nil {
		s.tb.Errorf("sshd: %v", err)
		return
	}
	defer f.Close()
	command := append(append([]string{}, s.enter...), s.path, "-i", "-e", "-f", s.conf)
	p := exec.Command(command[0], command[1:]...)
	p.Stdin, p.Stdout, p.Stderr = f, f, s.log
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := p.Start(); err != nil {
		s.tb.Errorf("sshd: %v", err)
		return
	}
	s.procs[p] = true
	s.wg.Go(func() {
		_ = p.Wait() // how a connection ended is for the client to tell
		s.mu.Lock()
		delete(s.procs, p)
		s.mu.Unlock()
	})
}

// end stops everything, also what sessions started and left behind.
func (s *Server) end() {
	s.Stop()
	s.Kill()
	s.wg.Wait()
	if s.other {
		s.log.Close()
		return // what is left in another system is for its owner to end
	}
	for _, pid := range withHome(s.tb, s.Home) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.tb.Errorf("sshd: kill: %v", err)
		}
	}
	s.log.Close()
}

// withHome returns the processes that have this home, as the sessions have;
// where there is no /proc, none.
func withHome(tb testing.TB, home string) []int {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		tb.Errorf("sshd: %v", err)
	}
	var pids []int
	for _, name := range environs {
		b, err := os.ReadFile(name)
		if err != nil || !strings.Contains("\x00"+string(b), "\x00HOME="+home+"\x00") {
			continue // ended, or somebody else's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			tb.Errorf("sshd: %v", err)
			continue
		}
		pids = append(pids, pid)
	}
	return pids
}
