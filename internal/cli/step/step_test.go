//go:build linux

package step_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/test/apiserver"
)

var server *apiserver.Server

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == local.ServeCommand { // a machine of this computer is this program
		os.Exit(local.ServeMain(os.Args[2:]))
	}
	apiserver.Main(m, &server)
}

// A world is a cluster with the real controller and a pool of machines of this
// computer, and a Pod in it; there is no kubelet, so its step is started here.
type world struct {
	*testing.T
	client.Client
	bin, root, ws string
	pod           *corev1.Pod
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a machine of this computer shows /workspace where it is in the Pod only to root")
	}
	w := &world{T: t, bin: t.TempDir(), root: t.TempDir(), ws: filepath.Join(t.TempDir(), "workspace")}
	for program, name := range map[string]string{"outrigger": "step", "agent": "outrigger-agent-linux-" + runtime.GOARCH} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(w.bin, name), "outrigger.dev/outrigger/cmd/"+program)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", program, err, out)
		}
	}
	var err error
	w.Client, err = client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	w.must(err)
	for _, ns := range []string{"outrigger-system", "team"} {
		w.must(client.IgnoreAlreadyExists(w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})))
	}
	w.control()
	w.must(w.Create(t.Context(), &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: "boxes"}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: runtime.GOARCH, Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}}, Warm: new(int32(1)), Max: 1,
	}}))
	t.Cleanup(func() { // while the controller is still there to delete its machines
		w.must(w.Delete(context.Background(), &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: "boxes"}}))
		w.eventually("the pool is gone, and so are its machines", func() bool {
			return apierrors.IsNotFound(w.Get(context.Background(), client.ObjectKey{Name: "boxes"}, &v1alpha1.MachinePool{}))
		})
	})
	w.pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "taskrun-pod"}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "step-run", Image: "cli"}},
	}}
	w.must(w.Create(t.Context(), w.pod))
	t.Cleanup(func() {
		w.must(client.IgnoreNotFound(w.Delete(context.Background(), w.pod, client.GracePeriodSeconds(0))))
	})
	w.must(os.MkdirAll(filepath.Join(w.root, w.ws), 0o777))
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) control() {
	ctx, cancel := context.WithCancel(context.Background())
	said := &testWriter{T: w.T}
	code := make(chan int, 1)
	args := []string{
		"--kubeconfig", server.Kubeconfig(), "--agents", w.bin, "--state-dir", filepath.Join(w.TempDir(), "state"),
		"--webhook-address", "0", "--metrics-bind-address", "0", "--health-probe-bind-address", "0",
	}
	go func() { code <- manager.Run(ctx, args, said, said) }()
	w.Cleanup(func() {
		cancel()
		if got := <-code; got != 0 {
			w.Errorf("the controller ended with %d", got)
		}
	})
}

// A testWriter puts what the controller says into the test's log.
type testWriter struct{ *testing.T }

func (w *testWriter) Write(b []byte) (int, error) {
	w.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (w *world) eventually(what string, fact func() bool) {
	w.Helper()
	for end := time.Now().Add(2 * time.Minute); !fact(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("waited in vain until %s", what)
		}
	}
}

// step is the program as the kernel starts it for a step's script.
func (w *world) step(script string, env ...string) *exec.Cmd {
	w.Helper()
	file := filepath.Join(w.TempDir(), "script-0")
	w.must(os.WriteFile(file, []byte("#!"+filepath.Join(w.bin, "step")+"\n"+script), 0o755))
	cmd := exec.Command(file)
	cmd.Dir = filepath.Join(w.root, w.ws)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.TempDir(), "KUBECONFIG=" + server.Kubeconfig(), "OUTRIGGER_AGENTS=" + w.bin, "OUTRIGGER_ROOT=" + w.root,
		"OUTRIGGER_MOUNT=" + w.ws, "OUTRIGGER_POD=" + w.pod.Name, "OUTRIGGER_POD_UID=" + string(w.pod.UID), "OUTRIGGER_NAMESPACE=team",
	}, env...)
	return cmd
}

func (w *world) claims() int {
	var list v1alpha1.MachineClaimList
	w.must(w.List(w.Context(), &list))
	return len(list.Items)
}

func output(cmd *exec.Cmd) (code int, out, errs string) {
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return -1, "", err.Error()
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func TestAStepTakesAMachineOfAPool(t *testing.T) {
	w := newWorld(t)
	w.must(os.WriteFile(filepath.Join(w.root, w.ws, "in"), []byte("hello\n"), 0o644))
	code, out, errs := output(w.step("cat in; pwd; echo $MINE/$OTHER/$OUTRIGGER_POOL; echo done > out; exit 3", "OUTRIGGER_POOL=boxes", "MINE=1", "OUTRIGGER_ENV=OTHER=a b\nMINE=2"))
	if strings.Contains(errs, "echo done") {
		t.Errorf("the script is printed: %s", errs)
	}
	if want := "hello\n" + w.ws + "\n2/a b/\n"; code != 3 || out != want {
		t.Errorf("exit code %d, %q, want 3, %q; stderr %s", code, out, want, errs)
	}
	if b, err := os.ReadFile(filepath.Join(w.root, w.ws, "out")); string(b) != "done\n" {
		t.Errorf("out: %q, %v", b, err)
	}
	if n := w.claims(); n != 0 {
		t.Errorf("%d claims are left", n)
	}

	t.Run("it is cancelled while it runs", func(t *testing.T) {
		cmd := w.step("trap 'echo tidy; exit 7' TERM; touch "+filepath.Join(w.bin, "runs")+"; while :; do sleep 0.1; done", "OUTRIGGER_POOL=boxes")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		w.must(cmd.Start())
		w.eventually("the script runs", func() bool { _, err := os.Stat(filepath.Join(w.bin, "runs")); return err == nil })
		w.must(cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait() // its exit code is looked at
		if cmd.ProcessState.ExitCode() != 7 || !strings.Contains(out.String(), "tidy") || w.claims() != 0 {
			t.Errorf("exit code %d, %s; %d claims are left", cmd.ProcessState.ExitCode(), out.String(), w.claims())
		}
	})

	t.Run("it is cancelled while it waits", func(t *testing.T) {
		w.must(w.Create(t.Context(), &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "other"}, Spec: v1alpha1.MachineClaimSpec{Pool: "boxes"}}))
		defer func() {
			w.must(w.Delete(t.Context(), &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "other"}}))
		}()
		w.eventually("somebody else has the machine", func() bool {
			var other v1alpha1.MachineClaim
			return w.Get(t.Context(), client.ObjectKey{Namespace: "team", Name: "other"}, &other) == nil && other.Status.Phase == v1alpha1.ClaimBound
		})
		cmd := w.step("echo never", "OUTRIGGER_POOL=boxes")
		said := filepath.Join(t.TempDir(), "said")
		f, err := os.Create(said)
		w.must(err)
		defer f.Close()
		cmd.Stdout, cmd.Stderr = f, f
		w.must(cmd.Start())
		text := func() string { b, _ := os.ReadFile(said); return string(b) }
		w.eventually("it says that it waits", func() bool { return strings.Contains(text(), "waits for a machine of pool boxes") })
		w.must(cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait() // its exit code is looked at
		if cmd.ProcessState.ExitCode() != 143 || strings.Contains(text(), "never") || w.claims() != 1 {
			t.Errorf("exit code %d, %s; %d claims", cmd.ProcessState.ExitCode(), text(), w.claims())
		}
	})

	t.Run("it is killed", func(t *testing.T) {
		os.Remove(filepath.Join(w.bin, "runs"))
		cmd := w.step("touch "+filepath.Join(w.bin, "runs")+"; sleep 600", "OUTRIGGER_POOL=boxes")
		w.must(cmd.Start())
		w.eventually("the script runs", func() bool { _, err := os.Stat(filepath.Join(w.bin, "runs")); return err == nil })
		w.must(cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		// What the kubelet says next.
		said := w.pod.DeepCopy()
		said.Status.Phase = corev1.PodFailed
		w.must(w.Status().Patch(t.Context(), said, client.MergeFrom(w.pod)))
		w.eventually("the controller releases its claim", func() bool {
			var list v1alpha1.MachineClaimList
			w.must(w.List(t.Context(), &list))
			return len(list.Items) == 1 && list.Items[0].Status.Phase == v1alpha1.ClaimReleased
		})
	})
}

func TestWhatIsWrongCostsNoMachine(t *testing.T) {
	w := newWorld(t)
	for want, env := range map[string][]string{
		"want one of them":           nil,
		"want this Pod's name":       {"OUTRIGGER_POOL=boxes", "OUTRIGGER_POD="},
		"there is no MachinePool":    {"OUTRIGGER_POOL=boxen"},
		"want an absolute path":      {"OUTRIGGER_POOL=boxes", "OUTRIGGER_MOUNT=workspace"},
		"want cluster, or nothing":   {"OUTRIGGER_POOL=boxes", "OUTRIGGER_NETWORK=host"},
		`$OUTRIGGER_EXPIRES "never"`: {"OUTRIGGER_ON=local", "OUTRIGGER_EXPIRES=never"},
	} {
		code, _, errs := output(w.step("echo never", env...))
		if code != 125 || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, %s, want 125, %q", env, code, errs, want)
		}
	}
	if n := w.claims(); n != 0 {
		t.Errorf("%d claims are left", n)
	}
}
