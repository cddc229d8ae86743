//go:build e2e

package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/test/program"
)

// A doctor is outrigger doctor with a kubeconfig.
type doctor struct {
	*place
	program string
}

func newDoctor(p *place) doctor {
	p.t.Helper()
	dir := p.t.TempDir()
	if err := program.Build(p.t.Context(), dir); err != nil {
		p.t.Fatal(err)
	}
	return doctor{p, filepath.Join(dir, "outrigger")}
}

func (d doctor) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(d.t.Context(), d.program, append([]string{
		"doctor", "--pool", pool(), "--in-cluster", "--pod-image", "registry.local/outrigger/cli:dev", "--kubeconfig", os.Getenv("KUBECONFIG"),
	}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+d.t.TempDir())
	return cmd
}

// noPod sees that no Pod of a doctor and no Secret of one is in a namespace.
func (d doctor) noPod(namespace string) {
	d.t.Helper()
	labels := metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=outrigger-doctor"}
	d.await(func(ctx context.Context) (string, error) {
		pods, err := d.Typed.CoreV1().Pods(namespace).List(ctx, labels)
		if err != nil || len(pods.Items) > 0 {
			return "a Pod of the doctor is left in " + namespace, err
		}
		secrets, err := d.Typed.CoreV1().Secrets(namespace).List(ctx, labels)
		if err != nil || len(secrets.Items) > 0 {
			return "a Secret of the doctor is left in " + namespace, err
		}
		return "", nil
	})
}

// The machines of the pool are looked at from here and from a Pod, which goes afterwards.
func TestDoctorLooksFromAPodToo(t *testing.T) {
	t.Parallel()
	p := begin(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	d := newDoctor(p)
	out, err := d.command().CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	for _, want := range []string{"HERE     POD", "ok       ok       ssh-port ", "ok       ok       host-key ", "ok       ok       login ", "ok       ok       clock ", " 0 failed"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	d.noPod("outrigger-system")

	// In a team's namespace, where only restricted Pods are admitted, it has no login.
	out, err = d.command("--pod-namespace", p.Name).CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	for _, want := range []string{"ok       ok       ssh-port ", "ok       ok       host-key ", "ok       skipped  login ", "tokens and logins stay in namespace outrigger-system"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	d.noPod(p.Name)
}

// Interrupted, it deletes its Pod all the same.
func TestDoctorThatIsInterrupted(t *testing.T) {
	t.Parallel()
	p := begin(t, nil)
	d := newDoctor(p)
	cmd := d.command("--pod-namespace", p.Name)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	p.await(func(ctx context.Context) (string, error) {
		pods, err := p.Typed.CoreV1().Pods(p.Name).List(ctx, metav1.ListOptions{})
		if err != nil || len(pods.Items) == 0 {
			return "the doctor has made no Pod", err
		}
		return "", nil
	})
	// Not INT, which is ignored where a shell has started the tests in the background.
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	select {
	case err := <-ended:
		if !errors.As(err, &exit) || exit.ExitCode() != 143 {
			t.Errorf("it ended with %v, want exit code 143", err)
		}
	case <-time.After(limit):
		t.Fatal("it does not end")
	}
	d.noPod(p.Name)
}
