//go:build unix

package sshd

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"testing"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/machine"
)

// The users whose sessions the servers give, when root runs the tests. The
// second may log in by a password that lives as long as a test.
const (
	testUser = "outrigger-test"
	passUser = "outrigger-test-pw"
)

// sessionUser returns the user of the sessions.
func sessionUser(tb testing.TB) string {
	tb.Helper()
	if os.Geteuid() != 0 {
		u, err := user.Current()
		if err != nil {
			tb.Fatal(err)
		}
		return u.Username
	}
	ensureUser(tb, testUser)
	return testUser
}

// passwordUser returns a user with a new password, which ends with the test.
func passwordUser(tb testing.TB) (string, machine.Secret) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("only root can give a user a password")
	}
	ensureUser(tb, passUser)
	// One test at a time: there is one password.
	lock := flock.New(lockFile + "-password")
	if err := lock.Lock(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if out, err := exec.Command("usermod", "-p", "*", passUser).CombinedOutput(); err != nil {
			tb.Errorf("sshd: take the password from %s: %v: %s", passUser, err, out)
		}
		lock.Unlock()
	})
	password := rand.Text()
	set := exec.Command("chpasswd")
	set.Stdin = strings.NewReader(passUser + ":" + password + "\n")
	if out, err := set.CombinedOutput(); err != nil {
		tb.Fatalf("sshd: chpasswd: %v: %s", err, out)
	}
	return passUser, machine.NewSecret(password)
}

const lockFile = "/var/lock/outrigger-test-users"

// ensureUser makes the user unless it exists, and what sshd needs as root.
func ensureUser(tb testing.TB, name string) {
	tb.Helper()
	// sshd as root wants this folder for its unprivileged half.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		tb.Fatal(err)
	}
	lock := flock.New(lockFile)
	if err := lock.Lock(); err != nil {
		tb.Fatal(err)
	}
	defer lock.Unlock()
	var unknown user.UnknownUserError
	_, err := user.Lookup(name)
	if err == nil {
		return
	}
	if !errors.As(err, &unknown) {
		tb.Fatal(err)
	}
	tb.Logf("making system user %s", name)
	if out, err := exec.Command("useradd", "--system", "--create-home", "--shell", "/bin/sh", "--password", "*", name).CombinedOutput(); err != nil {
		tb.Fatalf("sshd: useradd %s: %v: %s", name, err, out)
	}
}

// own makes name the owner of dir, if that is somebody else than we.
func own(tb testing.TB, dir, name string) {
	tb.Helper()
	if os.Geteuid() != 0 {
		return
	}
	u, err := user.Lookup(name)
	if err != nil {
		tb.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		tb.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		tb.Fatal(err)
	}
}
