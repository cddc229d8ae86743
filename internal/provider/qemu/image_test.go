package qemu_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/qemu/qemutest"
)

// TestSaveImage saves a machine while it writes, and again, and makes machines
// of what was saved after everything that came before is deleted.
func TestSaveImage(t *testing.T) {
	state := qemutest.State(t)
	p := qemutest.Open(t, state, qemu.Config{})
	first := create(t, p, machine.Spec{})
	c := dial(t, first)
	sh(t, c, "echo one > /root/one; mkdir -p /root/.outrigger/leases/old/work; rm /usr/bin/make")
	sh(t, c, "(while :; do head -c 100k /dev/urandom > /root/busy.$((n=(n+1)%50)); done) >/dev/null 2>&1 & echo $! > /run/writer")

	started := time.Now()
	img, err := p.SaveImage(t.Context(), first.Name, "one")
	if err != nil {
		t.Fatal(detailed(err))
	}
	t.Logf("saved in %s", time.Since(started))
	if img.Base != "debian" || img.Name != "one" || img.Bytes == 0 {
		t.Errorf("saved image: %+v", img)
	}
	// The machine goes on.
	sh(t, c, "kill $(cat /run/writer); echo two > /root/two; sync")
	if _, err := p.SaveImage(t.Context(), first.Name, "two"); err != nil {
		t.Fatal(detailed(err))
	}
	sh(t, c, "echo three > /root/three; sync; cat /root/busy.1 /usr/bin/gcc >/dev/null")

	for _, tt := range []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"a name that is taken", errorOf(p.SaveImage(t.Context(), first.Name, "one")), fault.NameTaken},
		{"a bad name", errorOf(p.SaveImage(t.Context(), first.Name, "../one")), fault.Usage},
		{"an unknown machine", errorOf(p.SaveImage(t.Context(), "nobody", "three")), fault.UnknownMachine},
		{"an image that a machine stands on", p.DeleteImage(t.Context(), "debian"), fault.Busy},
		{"an unknown image", p.DeleteImage(t.Context(), "three"), fault.UnknownImage},
		{"a build over a saved image", errorOf(p.BuildImage(t.Context(), provider.BuildSpec{Name: "one"})), fault.NameTaken},
	} {
		if !fault.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, tt.err, tt.want)
		}
	}

	if err := p.Delete(t.Context(), first.Name); err != nil {
		t.Fatal(err)
	}
	checkDisks(t, state)

	second := create(t, p, machine.Spec{Image: "two"})
	got := sh(t, dial(t, second), `cd /root; cat one two; ls three .outrigger/leases /usr/bin/make 2>&1 | grep -c "No such"; hostname; cat /etc/machine-id | wc -c`)
	if diff := cmp.Diff([]string{"one", "two", "3", string(second.Name), "33"}, strings.Fields(got)); diff != "" {
		t.Errorf("a machine of the saved image (-want +got):\n%s", diff)
	}
	if second.Endpoint.HostKeys[0] == first.Endpoint.HostKeys[0] {
		t.Error("the saved image has the host key of its machine")
	}

	// An image of a machine of an image.
	if _, err := p.SaveImage(t.Context(), second.Name, "three"); err != nil {
		t.Fatal(err)
	}
	if err := p.DeleteImage(t.Context(), "two"); !fault.Is(err, fault.Busy) {
		t.Errorf("deleting an image that a machine and an image stand on: %v, want Busy", err)
	}
	if err := p.Delete(t.Context(), second.Name); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"three", "two", "one", "debian"} {
		if err := p.DeleteImage(t.Context(), name); err != nil {
			t.Errorf("deleting image %s: %v", name, err)
		}
	}
	images, err := p.Images(t.Context())
	if err != nil || len(images) != 0 {
		t.Errorf("images that are left: %v, %v", images, err)
	}
	for _, dir := range []string{"images", "snapshots"} {
		files, err := filepath.Glob(filepath.Join(state, "qemu", dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if filepath.Base(f) != "lock" {
				t.Errorf("left over: %s", f)
			}
		}
	}
	if _, err := p.Create(t.Context(), machine.Spec{Name: "t-last", Owner: me}); !fault.Is(err, fault.UnknownImage) || !strings.Contains(fault.Remedy(err), "image build") {
		t.Errorf("a machine of a deleted image: %v (%s), want UnknownImage and how to build it", err, fault.Remedy(err))
	}
}

// detailed shows what a fault knows beside its text.
func detailed(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Text + "\n" + f.Detail
	}
	return err.Error()
}

func errorOf[T any](_ T, err error) error { return err }

// checkDisks lets qemu-img look at every layer of every image.
func checkDisks(t *testing.T, state string) {
	t.Helper()
	layers, err := filepath.Glob(filepath.Join(state, "qemu", "images", "*", "*.qcow2"))
	if err != nil || len(layers) == 0 {
		t.Fatalf("no layers: %v", err)
	}
	for _, layer := range layers {
		if out, err := exec.CommandContext(t.Context(), "qemu-img", "check", layer).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", layer, err, out)
		}
		if out, err := exec.CommandContext(t.Context(), "qemu-img", "info", "--backing-chain", layer).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", layer, err, out)
		}
	}
}

// TestBuildAgain: what did not change is not built.
func TestBuildAgain(t *testing.T) {
	p := qemutest.Open(t, qemutest.State(t), qemu.Config{})
	var stages []string
	img, err := p.BuildImage(t.Context(), provider.BuildSpec{Progress: func(stage string, _ time.Duration) { stages = append(stages, stage) }})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"unchanged"}, stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if img.Name != "debian" || img.Bytes < 100<<20 || img.Platform.OS != "linux" {
		t.Errorf("image: %+v", img)
	}
	for _, bad := range []string{"gcc;reboot", "--option", "", "Gcc"} {
		if _, err := p.BuildImage(t.Context(), provider.BuildSpec{Packages: []string{bad}}); !fault.Is(err, fault.Usage) {
			t.Errorf("package %q: %v, want Usage", bad, err)
		}
	}
}

// TestBuildCancelled gives up while packages are installed.
func TestBuildCancelled(t *testing.T) {
	state := qemutest.State(t)
	p := qemutest.Open(t, state, qemu.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := p.BuildImage(ctx, provider.BuildSpec{Name: "other", Packages: []string{"file"}, Progress: func(stage string, _ time.Duration) {
		if strings.HasPrefix(stage, "extracting") {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
	if l := left(t, state); len(l) > 0 {
		t.Errorf("left over: %q", l)
	}
}
