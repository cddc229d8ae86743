//go:build linux

package step_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/test/apiserver"
)

// pipelineRun makes one and returns it as --holder wants it.
func (w *world) pipelineRun(name string) (holder string) {
	w.Helper()
	run := &unstructured.Unstructured{}
	run.SetGroupVersionKind(apiserver.PipelineRun)
	run.SetNamespace("team")
	run.SetName(name + "-" + string(machine.NewName("run")))
	w.must(w.Create(w.Context(), run))
	return "PipelineRun/" + run.GetName() + "/" + string(run.GetUID())
}

// outrigger is the program under its own name.
func (w *world) outrigger(args ...string) *exec.Cmd {
	w.Helper()
	name := filepath.Join(w.bin, "outrigger")
	if _, err := os.Lstat(name); err != nil {
		w.must(os.Symlink("step", name))
	}
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.TempDir(), "KUBECONFIG=" + server.Kubeconfig()}
	return cmd
}

// Two Tasks of a PipelineRun use one machine one after another, each with the workspace of its own
// Pod. Another run gets another machine, or waits.
func TestStepsShareAClaim(t *testing.T) {
	server.ServePipelineRuns(t)
	w := newWorld(t)
	result := filepath.Join(t.TempDir(), "claim")
	code, name, errs := output(w.outrigger("claim", "create", "--pool=boxes", "--image=", "--keep=0s", "--namespace=team", "--holder="+w.pipelineRun("ci"), "--write="+result))
	name = strings.TrimSpace(name)
	if b, err := os.ReadFile(result); code != 0 || name == "" || string(b) != name || err != nil {
		t.Fatalf("exit code %d, name %q, result %q, %v; stderr %s", code, name, b, err, errs)
	}
	w.must(os.WriteFile(filepath.Join(w.root, w.ws, "in"), []byte("first\n"), 0o644))
	code, out, errs := output(w.step(`cat in; echo built > out; echo kept > "$TMPDIR/beside"`, "OUTRIGGER_CLAIM="+name))
	if code != 0 || out != "first\n" {
		t.Fatalf("first step: exit code %d, %q; stderr %s", code, out, errs)
	}
	if b, err := os.ReadFile(filepath.Join(w.root, w.ws, "out")); string(b) != "built\n" {
		t.Errorf("out: %q, %v", b, err)
	}

	// The second Task's Pod has a workspace in which something else has happened.
	root := t.TempDir()
	w.must(os.MkdirAll(filepath.Join(root, w.ws), 0o777))
	w.must(os.WriteFile(filepath.Join(root, w.ws, "in"), []byte("second\n"), 0o644))
	second := w.step(`cat in "$TMPDIR/beside"; ls`, "OUTRIGGER_CLAIM="+name, "OUTRIGGER_ROOT="+root)
	second.Dir = filepath.Join(root, w.ws)
	code, out, errs = output(second)
	if want := "second\nkept\nin\n"; code != 0 || out != want {
		t.Errorf("second step: exit code %d, %q, want %q; stderr %s", code, out, want, errs)
	}

	t.Run("at once they cannot", func(t *testing.T) {
		first := w.step("touch "+filepath.Join(w.bin, "runs")+"; while [ ! -e "+filepath.Join(w.bin, "go-on")+" ]; do sleep 0.05; done", "OUTRIGGER_CLAIM="+name)
		w.must(first.Start())
		w.eventually("the first runs", func() bool { _, err := os.Stat(filepath.Join(w.bin, "runs")); return err == nil })
		code, _, errs := output(w.step("echo never", "OUTRIGGER_CLAIM="+name, "OUTRIGGER_ROOT="+root))
		if code != 125 || !strings.Contains(errs, "under way") || !strings.Contains(errs, "one after another") {
			t.Errorf("exit code %d, %s", code, errs)
		}
		w.must(os.WriteFile(filepath.Join(w.bin, "go-on"), nil, 0o600))
		w.must(first.Wait())
	})

	t.Run("another run waits for another machine", func(t *testing.T) {
		other := w.outrigger("claim", "create", "--pool=boxes", "--namespace=team", "--holder="+w.pipelineRun("other"))
		var said bytes.Buffer
		other.Stderr, other.Stdout = &said, &said
		w.must(other.Start())
		w.eventually("both have a claim", func() bool { return w.claims() == 2 })
		w.must(other.Process.Signal(syscall.SIGTERM))
		_ = other.Wait() // its exit code is looked at
		if code := other.ProcessState.ExitCode(); code != 143 || w.claims() != 1 {
			t.Errorf("cancelled: exit code %d, %s; %d claims", code, said.String(), w.claims())
		}
	})

	for range 2 { // twice is once
		if code, out, errs := output(w.outrigger("claim", "release", "--namespace=team", name)); code != 0 {
			t.Errorf("release: exit code %d, %s%s", code, out, errs)
		}
	}
	w.eventually("no claim is left", func() bool { return w.claims() == 0 })
	code, _, errs = output(w.step("echo never", "OUTRIGGER_CLAIM="+name))
	if code != 125 || !strings.Contains(errs, "there is none of that name") {
		t.Errorf("a step of a claim that is gone: exit code %d, %s", code, errs)
	}
}

func TestAClaimNobodyWouldRelease(t *testing.T) {
	w := newWorld(t)
	for want, args := range map[string][]string{
		`--holder "PipelineRun//"`: {"--holder=PipelineRun//", "--pool=boxes", "--namespace=team"},
		`--holder ""`:              {"--pool=boxes", "--namespace=team"},
		"want both":                {"--holder=PipelineRun/a/b", "--pool=boxes"},
		"want 0 or more":           {"--holder=PipelineRun/a/b", "--pool=boxes", "--namespace=team", "--keep=-1s"},
	} {
		if code, _, errs := output(w.outrigger(append([]string{"claim", "create"}, args...)...)); code != 125 || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, %s, want 125, %q", args, code, errs, want)
		}
	}
	if n := w.claims(); n != 0 {
		t.Errorf("%d claims are left", n)
	}
}
