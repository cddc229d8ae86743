//go:build linux || darwin

package local

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
)

// A session runs one command. What the client asks for before it (a terminal,
// variables) is collected; what it asks for later reaches the command.
type session struct {
	s     *server
	ch    ssh.Channel
	env   []string
	login []string     // variables that sshd sets
	size  *pty.Winsize // nil: no terminal

	mu   sync.Mutex
	cmd  *exec.Cmd   // nil before the command runs
	sftp bool        // serves files instead of running a command
	term *os.File    // our side of its terminal, or nil
	out  [2]*os.File // our side of its stdout and stderr, or nil
	done sync.WaitGroup

	replied chan struct{} // closed when the client knows that the command runs
}

// The payloads of session requests, RFC 4254 section 6.
type (
	ptyRequest struct {
		Term          string
		Width, Height uint32
		PixelW        uint32
		PixelH        uint32
		Modes         string
	}
	windowRequest struct{ Width, Height, PixelW, PixelH uint32 }
	envRequest    struct{ Name, Value string }
	oneString     struct{ Value string }
)

func (s *server) session(conn ssh.ConnMetadata, nc ssh.NewChannel) {
	ch, requests, err := nc.Accept()
	if err != nil {
		return // the connection broke
	}
	x := &session{s: s, ch: ch, replied: make(chan struct{})}
	if s.guest {
		x.login = loginVariables(s.user, conn.RemoteAddr(), conn.LocalAddr())
	}
	for req := range requests {
		ok := x.request(req)
		if req.WantReply {
			_ = req.Reply(ok, nil) // a broken connection ends the loop
		}
		if ok && (req.Type == "exec" || req.Type == "shell" || req.Type == "subsystem") {
			close(x.replied)
		}
	}
	x.hangUp()
	x.done.Wait()
}

// request does what the client asks for and tells whether it could.
func (x *session) request(req *ssh.Request) bool {
	switch req.Type {
	case "pty-req":
		var m ptyRequest
		if ssh.Unmarshal(req.Payload, &m) != nil {
			return false
		}
		x.size = winsize(m.Width, m.Height)
		x.env = append(x.env, "TERM="+m.Term)
		return true
	case "env":
		var m envRequest
		if ssh.Unmarshal(req.Payload, &m) != nil || !envName.MatchString(m.Name) || m.Name == Marker {
			return false
		}
		x.env = append(x.env, m.Name+"="+m.Value)
		return true
	case "exec":
		var m oneString
		return ssh.Unmarshal(req.Payload, &m) == nil && x.start("/bin/sh", "sh", "-c", m.Value)
	case "shell":
		shell := loginShell()
		return x.start(shell, "-"+filepath.Base(shell)) // the dash makes it a login shell
	case "subsystem":
		var m oneString
		return ssh.Unmarshal(req.Payload, &m) == nil && x.s.guest && m.Value == "sftp" && x.files()
	case "window-change":
		var m windowRequest
		return ssh.Unmarshal(req.Payload, &m) == nil && x.resize(winsize(m.Width, m.Height))
	case "signal":
		var m oneString
		return ssh.Unmarshal(req.Payload, &m) == nil && x.signal(m.Value)
	}
	return false
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func winsize(w, h uint32) *pty.Winsize { return &pty.Winsize{Cols: uint16(w), Rows: uint16(h)} }

func loginShell() string {
	if sh := os.Getenv("SHELL"); filepath.IsAbs(sh) {
		return sh
	}
	return "/bin/sh"
}

// environment is what a session begins with: as fresh as that of sshd, but for
// PATH, so that what this computer has installed is found.
func (x *session) environment() []string {
	env := []string{
		"HOME=" + x.s.f.path("home"),
		"TMPDIR=" + x.s.f.path("tmp"),
		"SHELL=" + loginShell(),
		Marker + "=" + x.s.f.dir,
	}
	for _, name := range []string{"PATH", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(append(env, x.login...), x.env...)
}

// loginVariables are those that sshd sets of who has logged in and from where (sshd(8), ssh(1)).
func loginVariables(user string, from, to net.Addr) []string {
	env := []string{"USER=" + user, "LOGNAME=" + user}
	their, theirPort, err := net.SplitHostPort(from.String())
	our, ourPort, err2 := net.SplitHostPort(to.String())
	if err != nil || err2 != nil {
		return env
	}
	return append(env, "SSH_CLIENT="+strings.Join([]string{their, theirPort, ourPort}, " "),
		"SSH_CONNECTION="+strings.Join([]string{their, theirPort, our, ourPort}, " "))
}

// start runs the command; a session runs one only.
func (x *session) start(path string, argv ...string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cmd != nil || x.sftp {
		return false
	}
	cmd := &exec.Cmd{Path: path, Args: argv, Env: x.environment(), Dir: x.s.f.path("home")}
	begin := x.onPipes
	if x.size != nil {
		begin = x.onTerminal
	}
	if err := begin(cmd); err != nil {
		x.s.log.Warn("command does not start", "path", path, "error", err)
		return false
	}
	x.cmd = cmd
	return true
}

// onPipes joins the command's three streams to the channel.
func (x *session) onPipes(cmd *exec.Cmd) error {
	var theirs, ours [3]*os.File // stdin, stdout, stderr
	closeAll := func(files []*os.File) {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}
	for i := range theirs {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(theirs[:])
			closeAll(ours[:])
			return err
		}
		theirs[i], ours[i] = w, r
		if i == 0 {
			theirs[i], ours[i] = r, w
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := cmd.Start()
	closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
		return err
	}
	x.out = [2]*os.File{ours[1], ours[2]}
	var out sync.WaitGroup
	x.done.Go(func() {
		_, _ = io.Copy(ours[0], x.ch) // until either side has had enough
		ours[0].Close()
	})
	out.Go(func() { pour(x.ch, ours[1]) })
	out.Go(func() { pour(x.ch.Stderr(), ours[2]) })
	x.done.Go(func() { x.wait(cmd, &out) })
	return nil
}

// onTerminal gives the command a terminal and joins that to the channel.
func (x *session) onTerminal(cmd *exec.Cmd) error {
	term, err := pty.StartWithSize(cmd, x.size)
	if err != nil {
		return err
	}
	x.term = term
	var out sync.WaitGroup
	x.done.Go(func() { _, _ = io.Copy(term, x.ch) })
	out.Go(func() { _, _ = io.Copy(x.ch, term) }) // Linux ends it with EIO, which says nothing
	x.done.Go(func() { x.wait(cmd, &out) })
	return nil
}

// pour copies a pipe to the channel. When the channel is gone the pipe is
// closed, so that the command learns of it as it would from a closed pipe anywhere.
func pour(w io.Writer, r *os.File) {
	_, _ = io.Copy(w, r)
	r.Close()
}

// wait sends how the command ended, after all of its output.
func (x *session) wait(cmd *exec.Cmd, out *sync.WaitGroup) {
	err := cmd.Wait()
	out.Wait()
	<-x.replied // else a short command's end would overtake its beginning
	if x.term != nil {
		x.term.Close()
	}
	status, ok := syscall.WaitStatus(0), err == nil
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, ok = exit.Sys().(syscall.WaitStatus)
	}
	switch {
	case !ok:
		x.s.log.Warn("command lost", "error", err)
	case status.Signaled():
		x.tell("exit-signal", struct {
			Signal        string
			Dumped        bool
			Message, Lang string
		}{Signal: signalName(status.Signal()), Dumped: status.CoreDump()})
	default:
		x.tell("exit-status", struct{ Code uint32 }{uint32(status.ExitStatus())})
	}
	x.ch.Close()
}

// tell sends the client a word; if it has left, nobody wants it.
func (x *session) tell(kind string, msg any) {
	_, _ = x.ch.SendRequest(kind, false, ssh.Marshal(msg))
}

// hangUp is called when the client has left: a terminal hangs up, and pipes
// break when they are written to. A command that does not mind goes on.
func (x *session) hangUp() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range []*os.File{x.term, x.out[0], x.out[1]} {
		if f != nil {
			f.Close()
		}
	}
}

func (x *session) resize(size *pty.Winsize) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.term == nil {
		return false
	}
	return pty.Setsize(x.term, size) == nil
}

// signal reaches the command's whole process group.
func (x *session) signal(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	sig, ok := signals[name]
	return ok && x.cmd != nil && syscall.Kill(-x.cmd.Process.Pid, sig) == nil
}

// signals are those that RFC 4254 section 6.10 names.
var signals = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP,
	"ILL": syscall.SIGILL, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE,
	"QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV, "TERM": syscall.SIGTERM,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

func signalName(sig syscall.Signal) string {
	for name, s := range signals {
		if s == sig {
			return name
		}
	}
	return fmt.Sprintf("SIG%d@outrigger.dev", sig) // the RFC wants a domain for others
}
