//go:build linux

// Package imagepool has MachineImages built for real: the controller on a real API server, the provider as pools open it, on QEMU's
// machines and on those of the Orka cluster that outrigger dev orka serves, which have SSH servers and files; and the agent on them.
package imagepool

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/images"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/control/places"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/control/ready"
	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/provider/all"
	"outrigger.dev/outrigger/internal/provider/qemu/qemutest"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/test/agents"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/controller"
)

var server *apiserver.Server

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

const orkaBase = "sonoma-90gb-orka3-arm"

var quick = operator.Times{
	Uncached: 100 * time.Millisecond, Cached: 50 * time.Millisecond, SSH: 30 * time.Millisecond, Login: 20 * time.Millisecond,
	End: 20 * time.Millisecond, Save: 100 * time.Millisecond,
}

// A world is a controller with a provider that keeps images, and a client that is the operator.
type world struct {
	*testing.T
	client.Client
	agents   deliver.Source
	name     string // of the pool, the image and the controller's namespace
	state    string // the controller's folder
	base     string
	arch     string
	provider v1alpha1.ProviderSpec
	machines func() int // that the provider has
}

var worlds atomic.Int64

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, name: fmt.Sprintf("xcode-%d", worlds.Add(1)), agents: deliver.Dirs(agents.Dir(t))}
	var err error
	w.Client, err = client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	w.must(err)
	w.must(w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.name}}))
	return w
}

// orkaWorld is one with an Orka of two hosts.
func orkaWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	orka, err := devorka.Start(devorka.Config{Hosts: 2, Images: []string{orkaBase}, Times: &quick, Log: slog.New(slog.DiscardHandler)})
	w.must(err)
	t.Cleanup(func() {
		if err := orka.Close(); err != nil {
			t.Error(err)
		}
	})
	token, err := orka.Token(devorka.Grant{Role: "orka-admin"})
	w.must(err)
	w.secret("orka-token", "token", token)
	w.state, w.base, w.arch, w.machines = t.TempDir(), orkaBase, "arm64", func() int { return len(orka.VMs()) }
	w.provider = v1alpha1.ProviderSpec{Orka: &v1alpha1.OrkaProvider{Endpoint: orka.Endpoint(), TokenSecretName: "orka-token"}}
	w.control()
	return w
}

// qemuWorld is one with QEMU's machines.
func qemuWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.state, w.base, w.arch = qemutest.State(t), "debian", runtime.GOARCH
	w.machines = func() int {
		found, err := filepath.Glob(filepath.Join(w.state, "qemu", "machines", "*"))
		w.must(err)
		return len(found)
	}
	w.provider = v1alpha1.ProviderSpec{QEMU: &v1alpha1.QEMUProvider{Accel: "tcg"}}
	w.control()
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) secret(name, key, text string) {
	w.Helper()
	w.must(w.Create(w.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: name}, StringData: map[string]string{key: text}}))
}

// control runs a controller until the test has ended and cleaned up.
func (w *world) control() {
	w.Helper()
	log := controller.Log(w, slog.LevelInfo)
	over := ready.New(w.agents, reach.Options{}, log)
	controller.Start(w.T, server.Config(), manager.Options{
		Namespace: w.name, ClusterID: "test", Log: log,
		Places: places.New(all.Place{State: w.state, Agents: w.agents, Log: log}), Readier: over, Maker: over,
		Times:      pools.Times{Backoff: 200 * time.Millisecond, BackoffMost: time.Second, Herald: 20 * time.Millisecond},
		ImageTimes: images.Times{Look: 500 * time.Millisecond, Retry: time.Hour, Tell: 50 * time.Millisecond, Collect: 200 * time.Millisecond},
	})
}

// makePool makes a pool of the world's image.
func (w *world) makePool(change func(*v1alpha1.MachinePoolSpec)) {
	w.Helper()
	one := int32(1)
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.name}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: w.arch, Warm: &one, Max: 3, ImageFrom: &v1alpha1.ImageReference{Name: w.name},
		Provider: w.provider,
	}}
	if change != nil {
		change(&p.Spec)
	}
	w.must(w.Create(w.Context(), p))
	w.Cleanup(func() {
		ctx := context.WithoutCancel(w.Context())
		w.must(client.IgnoreNotFound(w.DeleteAllOf(ctx, &v1alpha1.MachineClaim{}, client.InNamespace(w.name))))
		w.must(client.IgnoreNotFound(w.Delete(ctx, p)))
		w.eventually("the pool is gone with all its machines", func() bool {
			return apierrors.IsNotFound(w.Get(ctx, client.ObjectKeyFromObject(p), p)) && w.machines() == 0
		})
	})
}

func (w *world) makeImage(spec v1alpha1.MachineImageSpec) {
	w.Helper()
	spec.Pool, spec.Base = w.name, w.base
	i := &v1alpha1.MachineImage{ObjectMeta: metav1.ObjectMeta{Name: w.name}, Spec: spec}
	w.must(w.Create(w.Context(), i))
	w.Cleanup(func() {
		ctx := context.WithoutCancel(w.Context())
		w.must(client.IgnoreNotFound(w.Delete(ctx, i)))
		w.eventually("the image's object is gone", func() bool { return apierrors.IsNotFound(w.Get(ctx, client.ObjectKeyFromObject(i), i)) })
	})
}

func (w *world) image() *v1alpha1.MachineImage {
	w.Helper()
	i := &v1alpha1.MachineImage{}
	w.must(w.Get(context.WithoutCancel(w.Context()), client.ObjectKey{Name: w.name}, i))
	return i
}

// becomes waits for a reason of the condition Built.
func (w *world) becomes(status metav1.ConditionStatus, reason string) (*v1alpha1.MachineImage, string) {
	w.Helper()
	var message string
	w.eventually(fmt.Sprintf("the image is %s: %s", status, reason), func() bool {
		i := w.image()
		c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ImageBuilt)
		if c == nil {
			return false
		}
		message = c.Message
		return c.Status == status && c.Reason == reason && i.Status.ObservedGeneration == i.Generation
	})
	return w.image(), message
}

func (w *world) script(text string) {
	w.Helper()
	w.eventually("the script is changed", func() bool {
		i := w.image()
		i.Spec.Script = text
		return w.Update(w.Context(), i) == nil
	})
}

// idle waits for an idle machine of an image.
func (w *world) idle(image string) v1alpha1.Machine {
	w.Helper()
	var found v1alpha1.Machine
	w.eventually("a machine of image "+image+" is idle", func() bool {
		var all v1alpha1.MachineList
		w.must(w.List(w.Context(), &all, client.MatchingLabels{v1alpha1.LabelPool: w.name}))
		for _, m := range all.Items {
			if m.Spec.Image == image && m.Status.Phase == v1alpha1.MachineIdle {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// claimed gets a machine of the pool and returns what a shell on it answers to command, in a lease as
// Pods take it.
func (w *world) claimed(name, command string) string {
	w.Helper()
	c := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: name}, Spec: v1alpha1.MachineClaimSpec{Pool: w.name}}
	w.must(w.Create(w.Context(), c))
	w.eventually("claim "+name+" is bound", func() bool {
		w.must(w.Get(w.Context(), client.ObjectKeyFromObject(c), c))
		return c.Status.Phase == v1alpha1.ClaimBound
	})
	login, err := pools.HeldLogin(w.Context(), w.Client, w.name, c, nil)
	w.must(err)
	if login == nil {
		w.Fatalf("machine %s is not the claim's", c.Status.Machine)
	}
	h, err := host.Dial(w.Context(), host.Config{Endpoint: login.Reach(), Agents: w.agents})
	w.must(err)
	defer h.Close()
	w.must(h.Call(w.Context(), wire.MethodLeaseAcquire, wire.LeaseAcquire{Name: login.Lease, Owner: string(login.Owner), Expires: time.Now().Add(time.Hour)}, nil))
	// A connection may break at any time, above all to a virtual machine that shares two processors: whoever
	// uses machines asks again, and so does this.
	var out []byte
	var exit int
	w.eventually("the machine answers", func() bool {
		ssh, e := h.Client(w.Context())
		if e == nil {
			out, exit, e = ssh.Output(w.Context(), command, nil)
		}
		err = e
		return !fault.Is(err, fault.Unreachable)
	})
	if err != nil || exit != 0 {
		w.Fatalf("%s: exit code %d, %v: %s", command, exit, err, out)
	}
	w.must(w.Delete(w.Context(), c))
	return strings.TrimSpace(string(out))
}

func (w *world) eventually(what string, fact func() bool) {
	w.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if fact() {
			return
		}
	}
	i := &v1alpha1.MachineImage{}
	_ = w.Get(context.WithoutCancel(w.Context()), client.ObjectKey{Name: w.name}, i)
	w.Logf("image: %+v\nbuild: %+v", i.Status, i.Status.Build)
	w.Fatalf("not within five minutes: %s; %d machines", what, w.machines())
}

// An image is built of a VM's real files, its machines are prepared and serve, and what the build needed
// is not in it: neither key nor agent. Another script is another image, to which the pool goes over; the first
// stays, and going back builds nothing.
func TestMachinesOfABuiltImageServe(t *testing.T) {
	w := orkaWorld(t)
	w.makePool(nil)
	w.secret("licence", "text", "ours")
	w.makeImage(v1alpha1.MachineImageSpec{
		Script: "set -e\nmkdir -p tools\necho one >tools/version\ncat licence >tools/licence\necho all is installed\n",
		Files:  []v1alpha1.ImageFile{{Path: "~/licence", Mode: new(int32(0o600)), Secret: &v1alpha1.KeyReference{Name: "licence", Key: "text"}}},
	})
	i, _ := w.becomes(metav1.ConditionTrue, "Built")
	first := i.Status.Image
	if i.Status.Build.Output != "all is installed" || i.Status.Images[0].Bytes == 0 {
		t.Errorf("the build says %+v, its image %+v", i.Status.Build, i.Status.Images[0])
	}
	m := w.idle(first)
	const look = `cat tools/version tools/licence; stat -c %a licence; grep -c outrigger .ssh/authorized_keys; grep -o 'outrigger:.*' .ssh/authorized_keys; ls .outrigger/leases | wc -l`
	want := []string{"one", "ours600", "1", "outrigger:" + m.Name, "1"}
	if got := strings.Split(w.claimed("first", look), "\n"); !slices.Equal(got, want) {
		t.Errorf("on a machine of the image: %q, want %q", got, want)
	}

	w.script("set -e\nmkdir -p tools\necho two >tools/version\ncp licence tools\n")
	w.eventually("the second image is in use", func() bool { return w.image().Status.Image != first })
	i, _ = w.becomes(metav1.ConditionTrue, "Built")
	second := i.Status.Image
	w.idle(second)
	if got := w.claimed("second", "cat tools/version"); got != "two" {
		t.Errorf("on a machine of the second image: %q", got)
	}
	built := *i.Status.Build
	w.script("set -e\nmkdir -p tools\necho one >tools/version\ncat licence >tools/licence\necho all is installed\n")
	i, _ = w.becomes(metav1.ConditionTrue, "Exists")
	if i.Status.Image != first || *i.Status.Build.StartedAt != *built.StartedAt {
		t.Errorf("after going back: image %s, build %+v; want %s without another build", i.Status.Image, i.Status.Build, first)
	}
	w.idle(first)
	if got := w.claimed("third", "cat tools/version"); got != "one" {
		t.Errorf("on a machine of the first image: %q", got)
	}
}

// A script that fails says where, and its machine is kept to be looked at.
func TestAScriptThatFailsSaysWhere(t *testing.T) {
	w := orkaWorld(t)
	none := int32(0)
	w.makePool(func(p *v1alpha1.MachinePoolSpec) { p.Warm = &none })
	w.makeImage(v1alpha1.MachineImageSpec{
		Script:        "#!/bin/bash\nset -e\necho fetching >trace\nif true; then\n  cat no-such-file\nfi\necho never\n",
		KeepOnFailure: &metav1.Duration{Duration: time.Hour},
	})
	i, message := w.becomes(metav1.ConditionFalse, "ScriptFailed")
	if i.Status.Build.FailedLine != 5 || !strings.Contains(message, "line 5: cat no-such-file: exit code 1") || !strings.Contains(i.Status.Build.Output, "no-such-file: No such file") {
		t.Errorf("the condition says %q, the build %+v", message, i.Status.Build)
	}
	// As the message says, its login is in a Secret.
	var c v1alpha1.MachineClaim
	w.must(w.Get(t.Context(), client.ObjectKey{Namespace: w.name, Name: i.Status.Build.Claim}, &c))
	login, err := pools.HeldLogin(t.Context(), w.Client, w.name, &c, nil)
	w.must(err)
	ssh, err := reach.Dial(t.Context(), login.Reach(), reach.Options{})
	w.must(err)
	defer ssh.Close()
	if out, exit, err := ssh.Output(t.Context(), "cat trace", nil); err != nil || exit != 0 || string(out) != "fetching\n" {
		t.Errorf("on the kept machine: %q, %d, %v", out, exit, err)
	}
	w.script("echo mended >trace")
	w.becomes(metav1.ConditionTrue, "Built")
	w.eventually("its machine is given back", func() bool { return w.machines() == 0 })
}

// The same with machines that have a kernel and a disk of their own.
func TestMachinesOfAnImageOfQEMUServe(t *testing.T) {
	w := qemuWorld(t)
	w.makePool(func(p *v1alpha1.MachinePoolSpec) { p.MemoryMiB = 512 })
	w.makeImage(v1alpha1.MachineImageSpec{Script: "set -e\nmkdir /opt/tools\necho one >/opt/tools/version\nhostname\n"})
	i, _ := w.becomes(metav1.ConditionTrue, "Built")
	m := w.idle(i.Status.Image)
	got := strings.Split(w.claimed("first", "cat /opt/tools/version; grep -o 'outrigger:.*' /root/.ssh/authorized_keys"), "\n")
	if want := []string{"one", "outrigger:" + m.Name}; !slices.Equal(got, want) {
		t.Errorf("on a machine of the image: %q, want %q", got, want)
	}
	if built := i.Status.Images[0]; built.Base != "debian" || built.Bytes == 0 || built.Took == nil {
		t.Errorf("the image is %+v", built)
	}
}
