//go:build linux

package ready_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/test/macshell"
)

func (w *world) login(m v1alpha1.Machine) handoff.Claim {
	w.Helper()
	var s corev1.Secret
	w.must(w.Get(w.Context(), client.ObjectKey{Namespace: w.pool, Name: pools.LoginSecret(m.Name)}, &s))
	var c handoff.Claim
	w.must(json.Unmarshal(s.Data[handoff.SecretKey], &c))
	return c
}

func TestMacOfAPoolTellsWhatPreparingFound(t *testing.T) {
	mac := macshell.Start(t, macshell.Options{Sudo: macshell.SudoFree})
	w := newWorld(t, "macs")
	w.macs(mac, nil)
	m := w.machine(v1alpha1.MachineIdle)
	want := `Ready True Prepared
Reachable True Answers
KeyLogin True Installed
RootAccess True Sudo
DiskSpace True Room
Clock True Right
RootLinker True Links
KeepAwake True NeverSleeps
ConsoleUser True LoggedIn
AquaSession True Aqua
SlotUser False Shared
`
	if diff := cmp.Diff(want, conditions(m)); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if m.Status.Session != "aqua" || m.Status.Root != macshell.Home+"/.outrigger" {
		t.Errorf("session %q, root %q", m.Status.Session, m.Status.Root)
	}

	// A claim gets it; its lease ends with it, and its key lets nobody in any more.
	c := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: "build"}, Spec: v1alpha1.MachineClaimSpec{Pool: w.pool}}
	w.must(w.Create(t.Context(), c))
	m = w.machine(v1alpha1.MachineLeased)
	first := w.login(m)
	h, err := host.Dial(t.Context(), host.Config{Endpoint: first.Reach(), Agents: deliver.Dirs(agents)})
	w.must(err)
	lease := wire.LeaseAcquire{Name: pools.LeaseName(c.Name, c.UID), Owner: string(first.Owner), Expires: time.Now().Add(time.Hour)}
	w.must(h.Call(t.Context(), wire.MethodLeaseAcquire, lease, nil))
	w.must(h.Close())

	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(c), c))
	now := metav1.Now()
	c.Status.Phase, c.Status.ReleasedAt = v1alpha1.ClaimReleased, &now
	w.must(w.Status().Update(t.Context(), c))
	m = w.machine(v1alpha1.MachineIdle)
	if got := mac.Do("ls " + macshell.Home + "/.outrigger/leases"); strings.Contains(got, lease.Name) {
		t.Errorf("the lease is there after its claim: %s", got)
	}
	if _, err := reach.Dial(t.Context(), first.Reach(), reach.Options{}); !fault.Is(err, fault.AuthRefused) {
		t.Errorf("the first claim's key: got %v, want it refused", err)
	}
	again, err := reach.Dial(t.Context(), w.login(m).Reach(), reach.Options{})
	w.must(err)
	w.must(again.Close())
}

func TestMacThatLacksWhatThePoolRequiresIsGivenUp(t *testing.T) {
	mac := macshell.Start(t, macshell.Options{Console: "root", Sudo: macshell.SudoFree})
	w := newWorld(t, "simulators")
	w.macs(mac, func(p *v1alpha1.MachinePoolSpec) {
		p.Preparation = &v1alpha1.PreparationSpec{Require: []v1alpha1.OptionalStep{"AquaSession"}}
	})
	// It is given up, deleted and made again, since somebody may log in. What it lacked is told on the pool.
	var p v1alpha1.MachinePool
	w.eventually("the pool says what its machines lack", func() bool {
		w.must(w.Get(t.Context(), client.ObjectKey{Name: w.pool}, &p))
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.PoolProviderHealthy)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == string(fault.NotPrepared) && strings.Contains(c.Message, "AquaSession: NoWindowServer")
	})
	mac.Login(macshell.User)
	m := w.machine(v1alpha1.MachineIdle)
	if got := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.MachineAquaSession); got == nil || got.Status != metav1.ConditionTrue {
		t.Errorf("got %+v", got)
	}
}

func TestMachinesOfThisComputerAreMadeReady(t *testing.T) {
	w := newWorld(t, "local")
	two := int32(2)
	w.make(&v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.pool}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "amd64", Warm: &two, Max: 2, Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}},
	}})
	w.eventually("two machines are idle", func() bool {
		n := 0
		for _, m := range w.machines() {
			if m.Status.Phase == v1alpha1.MachineIdle {
				n++
			}
		}
		return n == 2
	})
	for _, m := range w.machines() {
		c, err := reach.Dial(t.Context(), w.login(m).Reach(), reach.Options{})
		w.must(err)
		w.must(c.Close())
	}
}

// identities makes a Secret with one identity.
func (w *world) identities(name string) {
	w.Helper()
	dir := w.TempDir()
	for _, args := range []string{
		"req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -subj /CN=us -days 2",
		"pkcs12 -export -inkey key -in cert -out p12 -passout pass:secret-of-the-file",
	} {
		cmd := exec.Command("openssl", strings.Fields(args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			w.Fatalf("openssl: %v: %s", err, out)
		}
	}
	p12, err := os.ReadFile(filepath.Join(dir, "p12"))
	w.must(err)
	w.secret(name, map[string][]byte{"us.p12": p12, "us.password": []byte("secret-of-the-file\n")})
}

func TestKeychainGoesWithTheMachineFromAHostThatStays(t *testing.T) {
	mac := macshell.Start(t, macshell.Options{Sudo: macshell.SudoFree})
	w := newWorld(t, "signing")
	w.macs(mac, func(p *v1alpha1.MachinePoolSpec) {
		p.Preparation = &v1alpha1.PreparationSpec{BuildKeychain: &v1alpha1.BuildKeychain{SecretName: "identities"}}
	})
	// The Secret is not there yet: the machine says what it waits for.
	w.eventually("the machine says what is missing", func() bool {
		for _, m := range w.machines() {
			c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.MachineReady)
			if c != nil && strings.Contains(c.Message, "there is no Secret signing/identities") {
				return true
			}
		}
		return false
	})
	w.identities("identities")
	m := w.machine(v1alpha1.MachineIdle)
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.MachineBuildKeychain); c == nil || c.Status != metav1.ConditionTrue {
		t.Fatalf("got %+v", c)
	}
	keychains := "ls " + macshell.Home + "/Library/Keychains " + macshell.Home + "/.ssh && cat " + macshell.Home + "/.ssh/authorized_keys"
	if got := mac.Do(keychains); !strings.Contains(got, "outrigger-"+m.Name) {
		t.Fatalf("no keychain of machine %s:\n%s", m.Name, got)
	}
	// Nobody ever claimed it: it goes with its pool.
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.pool}}
	w.must(w.Delete(t.Context(), p))
	w.eventually("the machine is gone", func() bool { return len(w.machines()) == 0 })
	if got := mac.Do(keychains); strings.Contains(got, "outrigger") {
		t.Errorf("left on the host:\n%s", got)
	}
}
