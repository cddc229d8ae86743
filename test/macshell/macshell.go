//go:build linux

// Package macshell is a Mac as far as a shell sees it: its commands, its files where they
// are on a Mac, a user admin with the password admin, and OpenSSH's server in front.
//
// It is Linux below: a mount namespace with a copy-on-write view of this
// computer's files, in which the commands of the folder root stand where a Mac has them. Nothing outside
// changes, and the kernel takes all of it away with the process that holds the namespace. Each command is a
// script that does and says what the documented one does and says, with the source
// of that in its first lines; what such a script cannot know is what macOS does
// beside its documentation. docs/verified.md lists what was never run on a Mac.
package macshell

import (
	"bufio"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/test/sshd"
)

//go:embed all:root
var commands embed.FS

// Options say what the Mac is like at first.
type Options struct {
	Linux   bool   // a Linux machine instead: only the clock is not this computer's
	Console string // who is logged in at the screen: "root" is nobody
	Sudo    Sudo
	Offline bool     // no time server answers
	Lines   []string // further lines of sshd_config
}

// Sudo is how admin becomes root.
type Sudo string

// The ways to become root.
const (
	SudoPassword Sudo = ""     // with the password, as on Orka's images
	SudoFree     Sudo = "free" // without
	SudoNever    Sudo = "never"
)

// The user, and the password of the image.
const (
	User     = "admin"
	Password = "admin"
	Home     = "/Users/admin"
)

// state is the folder with what the commands remember.
const state = "var/db/fakemac"

// A Mac is a running one.
type Mac struct {
	*sshd.Server
	tb     testing.TB
	holder *exec.Cmd
	root   string // its file system, seen from here
}

// Start makes a Mac that lives until the test ends, or skips the test where that takes
// rights that we have not.
func Start(tb testing.TB, o Options) *Mac {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("only root makes another view of the file system")
	}
	for _, p := range []string{"unshare", "nsenter", "sudo", "openssl"} {
		if _, err := exec.LookPath(p); err != nil {
			tb.Skipf("not installed: %v", err)
		}
	}
	m := &Mac{tb: tb}
	m.hold()
	m.furnish(o)
	pid := strconv.Itoa(m.holder.Process.Pid)
	lines := append(append([]string{}, o.Lines...),
		// As macOS has it; the test's own files say the rest.
		"Include /etc/ssh/sshd_config.d/*.conf", "AuthorizedKeysFile .ssh/authorized_keys", "PasswordAuthentication yes")
	m.Server = sshd.Start(tb, sshd.Options{
		Enter: []string{"nsenter", "--mount", "--root", "--wd", "--target", pid}, User: User, Home: Home, Lines: lines,
	})
	m.Server.Password = machine.NewSecret(Password)
	return m
}

// world makes the view and holds it. /tmp stays this computer's: the server's keys
// and the programs under test are there.
const world = `set -e
mount -t tmpfs -o mode=700 none "$1" # nobody of the view's users gets to what is below it
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
for d in proc dev sys tmp; do mount --rbind "/$d" "$1/root/$d"; done
echo held
exec chroot "$1/root" sleep infinity`

// hold starts the process that the view ends with; it ends with this one.
func (m *Mac) hold() {
	tb := m.tb
	base, err := os.MkdirTemp("", "outrigger-mac-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(base) })
	m.holder = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", world, "sh", base)
	m.holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := m.holder.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	m.holder.Stderr = os.Stderr
	if err := m.holder.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.end)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		tb.Skipf("this computer gives no view of its own to the file system: %q, %v", line, err)
	}
	m.root = filepath.Join("/proc", strconv.Itoa(m.holder.Process.Pid), "root")
	// Its root is the view's only after the chroot.
	for i := 0; ; i++ {
		if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", m.holder.Process.Pid)); err == nil && string(comm) == "sleep\n" {
			return
		}
		if i > 1e6 {
			tb.Fatal("the view's holder does not settle")
		}
	}
}

// end ends everything that lives in the view, and so the view.
func (m *Mac) end() {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", m.holder.Process.Pid))
	if err == nil {
		links, _ := filepath.Glob("/proc/[0-9]*/ns/mnt") // the pattern is right
		for _, l := range links {
			pid, _ := strconv.Atoi(strings.Split(l, "/")[2])
			if ns, err := os.Readlink(l); err == nil && ns == own && pid != m.holder.Process.Pid {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
	}
	_ = m.holder.Process.Kill() // as above
	_ = m.holder.Wait()
}

// furnish makes it a Mac.
func (m *Mac) furnish(o Options) {
	tb := m.tb
	if o.Console == "" {
		o.Console = User
	}
	m.must(os.MkdirAll(m.path(state+"/launchd"), 0o755))
	for _, d := range []string{"pmset", "defaults", "launchd"} {
		m.must(os.MkdirAll(m.path(state+"/"+d), 0o755))
	}
	m.must(os.MkdirAll(m.path("usr/libexec/fakemac"), 0o755))
	m.Do("cp /usr/bin/date /usr/libexec/fakemac/date && mkdir -p /run/sshd /Users")
	err := fs.WalkDir(commands, "root", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		to := strings.TrimPrefix(name, "root/")
		if o.Linux && to != "usr/bin/date" {
			return nil
		}
		b, err := commands.ReadFile(name)
		if err != nil {
			return err
		}
		m.must(os.MkdirAll(filepath.Dir(m.path(to)), 0o755))
		m.must(os.RemoveAll(m.path(to))) // what is there may be a link to another
		return os.WriteFile(m.path(to), b, 0o755)
	})
	m.must(err)
	for name, content := range map[string]string{
		"clock": "0", "console": o.Console, "networktime": "On", "pmset/sleep": "1", "pmset/displaysleep": "10", "pmset/disksleep": "10", "argv": "",
	} {
		m.Write(state+"/"+name, content+"\n")
	}
	if !o.Offline {
		m.Write(state+"/network", "")
	}
	rule := map[Sudo]string{SudoPassword: "admin ALL = (ALL) ALL\n", SudoFree: "admin ALL = (ALL) NOPASSWD: ALL\n"}[o.Sudo]
	// A session is kept in the environment here; on a Mac sudo does not leave it.
	m.Write("etc/sudoers", "Defaults env_keep += FAKEMAC_MANAGER\nroot ALL = (ALL) ALL\n"+rule)
	m.must(os.Chmod(m.path("etc/sudoers"), 0o440))
	// The users that are made here have numbers that nobody has on this computer, nor on another Mac of a test: their
	// processes are in the same list.
	first := 100000 + 16*m.holder.Process.Pid
	m.Do(fmt.Sprintf(`echo "_numbers:x:%[1]d:%[1]d:none:/nonexistent:/bin/false" >>/etc/passwd
printf 'SYS_UID_MIN %[2]d\nSYS_UID_MAX %[3]d\nSYS_GID_MIN %[2]d\nSYS_GID_MAX %[3]d\n' >>/etc/login.defs
mkdir -p /private/var/folders/zz /Users/Shared /var/db/fakemac/groups && chmod 1777 /Users/Shared && ln -s /tmp /private/tmp && ln -s /var/tmp /private/var/tmp`, first, first+1, first+15))
	name, err := os.Hostname()
	m.must(err)
	m.Write("etc/hosts", "127.0.0.1 localhost "+name+"\n")
	m.Write("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM no\n")
	m.Do(`useradd --uid 501 --create-home --home-dir ` + Home + ` --shell /bin/sh admin && echo admin:admin | chpasswd &&
mkdir -p /etc/ssh/sshd_config.d ` + Home + `/Library/Keychains && rm -f /etc/ssh/ssh_host_* && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key &&
: >` + Home + `/Library/Keychains/login.keychain-db && echo ` + Home + `/Library/Keychains/login.keychain-db >/` + state + `/keychains.admin &&
chown -R admin ` + Home + ` && chmod -R a+rwX /` + state)
	tb.Logf("a Mac in namespace of process %d", m.holder.Process.Pid)
}

func (m *Mac) must(err error) {
	m.tb.Helper()
	if err != nil {
		m.tb.Fatal(err)
	}
}

// path is where a file of the Mac is seen from here. Links in its middle are this
// computer's own and would lead out: callers name files by their real path.
func (m *Mac) path(name string) string { return filepath.Join(m.root, strings.TrimPrefix(name, "/")) }

// Do runs a script on the Mac as root and returns what it prints.
func (m *Mac) Do(script string) string {
	m.tb.Helper()
	pid := strconv.Itoa(m.holder.Process.Pid)
	cmd := exec.Command("nsenter", "--mount", "--root", "--wd", "--target", pid, "/bin/sh", "-c", script)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/root"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.tb.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// Write writes a file of the Mac.
func (m *Mac) Write(name, content string) {
	m.tb.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	m.must(os.WriteFile(m.path(name), []byte(content), 0o644))
}

// Read returns a file of the Mac, "" if it is not there.
func (m *Mac) Read(name string) string {
	b, err := os.ReadFile(m.path(name))
	if err != nil {
		return ""
	}
	return string(b)
}

// Login lets a user log in at the screen; "root" is nobody.
func (m *Mac) Login(user string) { m.Write(state+"/console", user+"\n") }

// AutoLogin has a user be logged in at the screen by itself, in a while.
func (m *Mac) AutoLogin(user string) {
	m.Write(state+"/defaults/_Library_Preferences_com.apple.loginwindow.autoLoginUser", user+"\n")
}

// SetClock makes the Mac's clock wrong by seconds.
func (m *Mac) SetClock(seconds int) { m.Write(state+"/clock", strconv.Itoa(seconds)+"\n") }

// Skew is how wrong the Mac's clock is, in seconds.
func (m *Mac) Skew() int {
	n, err := strconv.Atoi(strings.TrimSpace(m.Read(state + "/clock")))
	m.must(err)
	return n
}

// Argv returns the command lines that anybody on the Mac could have listed.
func (m *Mac) Argv() string { return m.Read(state + "/argv") }
