//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// sshdConfig lets many sessions in: the relays of a Pod come all at once.
const sshdConfig = `HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 100
MaxSessions 200
Subsystem sftp internal-sftp
`

// runMachine is the first process of a machine, in namespaces of its own. It makes
// the machine's file system, waits for its network, starts the SSH server and then
// does what a first process does: it waits for children that nobody else waits for.
func runMachine(dir string) error {
	name := filepath.Base(dir)
	files := map[string]string{}
	for _, f := range []string{"root", "address", "authorized_keys", "ssh_host_ed25519_key"} {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return err
		}
		files[f] = string(data)
	}
	if err := enter(filepath.Join(dir, "mnt"), files["root"]); err != nil {
		return err
	}
	if err := errors.Join(
		syscall.Sethostname([]byte(name)),
		os.WriteFile("/etc/hostname", []byte(name+"\n"), 0o644),
		os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n"+files["address"]+" "+name+"\n"), 0o644),
		os.WriteFile("/etc/resolv.conf", nil, 0o644),
		os.WriteFile("/etc/ssh/sshd_config", []byte(sshdConfig), 0o644),
		os.WriteFile("/etc/ssh/ssh_host_ed25519_key", []byte(files["ssh_host_ed25519_key"]), 0o600),
		authorize("/root", 0, files["authorized_keys"]),
		authorize("/home/runner", 1000, files["authorized_keys"]),
		os.MkdirAll("/run/sshd", 0o755),
	); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	for !connected() {
		<-tick.C
	}
	tick.Stop()
	// None of our variables: a machine knows nothing of who started it.
	server, err := os.StartProcess("/usr/sbin/sshd", []string{"/usr/sbin/sshd", "-D", "-e"}, &os.ProcAttr{
		Dir: "/", Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Files: []*os.File{nil, os.Stdout, os.Stderr},
	})
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM) // a machine is switched off by SIGKILL
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if pid == server.Pid {
			return fmt.Errorf("the SSH server ended: status %#x", status)
		}
	}
}

// enter makes a file system above root, whose changes are kept in memory, and
// makes it the one and only file system of this process.
func enter(at, root string) error {
	// What is mounted here is nobody else's.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, "size=4g"); err != nil {
		return fmt.Errorf("memory for changes: %w", err)
	}
	upper, work, top := at+"/upper", at+"/work", at+"/top"
	if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755), os.Mkdir(top, 0o755)); err != nil {
		return err
	}
	if err := syscall.Mount("overlay", top, "overlay", 0, "lowerdir="+root+",upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("overlay over %s: %w", root, err)
	}
	if err := mountAll(top); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(top+"/mnt", 0o755), syscall.PivotRoot(top, top+"/mnt"), os.Chdir("/")); err != nil {
		return fmt.Errorf("new root: %w", err)
	}
	return syscall.Unmount("/mnt", syscall.MNT_DETACH)
}

// mountAll mounts what programs look for below /proc, /sys and /dev.
func mountAll(top string) error {
	const quiet = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	for _, m := range []struct {
		kind, at string
		flags    uintptr
		options  string
	}{
		{"proc", "/proc", quiet, ""},
		{"sysfs", "/sys", quiet | syscall.MS_RDONLY, ""},
		{"tmpfs", "/dev", syscall.MS_NOSUID, "mode=755"},
		{"devpts", "/dev/pts", syscall.MS_NOSUID | syscall.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"},
		{"tmpfs", "/dev/shm", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=1777"},
	} {
		if err := os.MkdirAll(top+m.at, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(m.kind, top+m.at, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	for _, device := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		at := top + "/dev/" + device
		if err := os.WriteFile(at, nil, 0o666); err != nil {
			return err
		}
		if err := syscall.Mount("/dev/"+device, at, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("device %s: %w", device, err)
		}
	}
	for link, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, top+"/dev/"+link); err != nil {
			return err
		}
	}
	return nil
}

func authorize(home string, id int, keys string) error {
	dir := filepath.Join(home, ".ssh")
	file := filepath.Join(dir, "authorized_keys")
	return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, []byte(keys), 0o600), os.Chown(dir, id, id), os.Chown(file, id, id))
}

// connected tells whether the cable is there and has a route.
func connected() bool {
	routes, err := os.ReadFile("/proc/net/route")
	return err == nil && strings.Contains(string(routes), "eth0")
}
