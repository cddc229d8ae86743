//go:build linux

package pool_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/pool"
	"outrigger.dev/outrigger/internal/cli/term"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/test/apiserver"
)

var (
	server *apiserver.Server
	update = flag.Bool("update", false, "rewrite testdata")
)

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

// call runs `outrigger pool ARGS` at a time of our choice.
func call(t *testing.T, now time.Time, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	a := app.New(&term.IO{In: strings.NewReader(""), Out: &out, Err: &out, Now: func() time.Time { return now }})
	cmd := pool.New(a)
	a.Flags.Add(cmd.PersistentFlags())
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, "--kubeconfig", server.Kubeconfig()))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// fill makes a pool with two machines, one of them held, and two claims that wait.
func fill(t *testing.T, c client.Client) (now time.Time) {
	t.Helper()
	p := &v1alpha1.MachinePool{
		ObjectMeta: metav1.ObjectMeta{Name: "linux"},
		Spec: v1alpha1.MachinePoolSpec{
			OS: "linux", Arch: "amd64", Max: 2, Warm: new(int32(1)), Image: "debian", Provider: v1alpha1.ProviderSpec{QEMU: &v1alpha1.QEMUProvider{}},
		},
	}
	create(t, c, p)
	then := p.CreationTimestamp
	now = then.Add(5*time.Minute + 30*time.Second) // what follows may take seconds to make
	p.Status = v1alpha1.MachinePoolStatus{
		Machines: 2, Leased: 1, Failed: 1, Queued: 2,
		StartTime: &metav1.Duration{Duration: 40 * time.Second}, LeaseTime: &metav1.Duration{Duration: 3 * time.Minute},
		Conditions: []metav1.Condition{{Type: v1alpha1.PoolReady, Status: "False", Reason: "NoCapacity", Message: "the rack is full", LastTransitionTime: then}},
	}
	status(t, c, p)

	held := claim(t, c, "build-1", v1alpha1.MachineClaimStatus{Phase: v1alpha1.ClaimBound, Machine: "m-1"})
	claim(t, c, "build-3", v1alpha1.MachineClaimStatus{Phase: v1alpha1.ClaimQueued, Position: 2})
	claim(t, c, "build-2", v1alpha1.MachineClaimStatus{
		Phase: v1alpha1.ClaimQueued, Position: 1, ExpectedWait: "about 4m",
		Conditions: []metav1.Condition{{Type: v1alpha1.ClaimConditionBound, Status: "False", Reason: "AtMax", Message: "the pool has 2 machines, its max is 2", LastTransitionTime: then}},
	})
	claim(t, c, "build-0", v1alpha1.MachineClaimStatus{Phase: v1alpha1.ClaimReleased})

	for name, m := range map[string]*v1alpha1.Machine{
		"m-1": {
			Spec:   v1alpha1.MachineSpec{Claim: &v1alpha1.ClaimReference{Namespace: held.Namespace, Name: held.Name, UID: string(held.UID)}},
			Status: v1alpha1.MachineStatus{Phase: v1alpha1.MachineLeased, PhaseSince: &then, Address: "10.0.0.1", Port: 22, Uses: 3},
		},
		"m-2": {Status: v1alpha1.MachineStatus{
			Phase: v1alpha1.MachineFailed, PhaseSince: &then,
			Conditions: []metav1.Condition{{Type: v1alpha1.MachineReady, Status: "False", Reason: "BootTimeout", Message: "no answer within 10m", LastTransitionTime: then}},
		}},
	} {
		was := m.Status
		m.Name, m.Labels, m.Spec.Pool = name, map[string]string{v1alpha1.LabelPool: "linux"}, "linux"
		create(t, c, m)
		m.Status = was
		status(t, c, m)
	}
	create(t, c, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "default", Name: "linux.1"},
		InvolvedObject: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MachinePool", Name: "linux"},
		Type:           "Warning", Reason: "NoCapacity", Message: "the rack is full", LastTimestamp: then,
	})
	return now
}

func claim(t *testing.T, c client.Client, name string, s v1alpha1.MachineClaimStatus) *v1alpha1.MachineClaim {
	t.Helper()
	m := &v1alpha1.MachineClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       v1alpha1.MachineClaimSpec{Pool: "linux", Holder: &v1alpha1.Holder{Kind: "Pod", Name: name + "-pod", UID: "u"}},
	}
	create(t, c, m)
	m.Status = s
	status(t, c, m)
	return m
}

func create(t *testing.T, c client.Client, o client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func status(t *testing.T, c client.Client, o client.Object) {
	t.Helper()
	if err := c.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func TestPool(t *testing.T) {
	if out, err := call(t, time.Now(), "list", "-o", "json"); err != nil || out != "[]\n" {
		t.Fatalf("no pools: %q, %v", out, err)
	}
	c, err := client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	now := fill(t, c)
	for name, args := range map[string][]string{"list.txt": {"list"}, "status.txt": {"status", "linux"}} {
		got, err := call(t, now, args...)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
	}

	var list []map[string]any
	text, err := call(t, now, "list", "-o", "json")
	if err != nil || json.Unmarshal([]byte(text), &list) != nil || len(list) != 1 || list[0]["queued"] != 2. || list[0]["message"] != "the rack is full" {
		t.Errorf("list as JSON: %v, %s", err, text)
	}
	var all struct {
		Pool, Machines, Queue, Holding, Events any
	}
	text, err = call(t, now, "status", "linux", "-o", "json")
	if err != nil || json.Unmarshal([]byte(text), &all) != nil {
		t.Fatalf("status as JSON: %v, %s", err, text)
	}
	for what, n := range map[string]int{"queue": len(all.Queue.([]any)), "machines": len(all.Machines.([]any))} {
		if n != 2 {
			t.Errorf("%d in %s, want 2", n, what)
		}
	}

	_, err = call(t, now, "status", "nosuch")
	if fault.Of(err) != fault.UnknownPool {
		t.Errorf("unknown pool: %v", err)
	}
}

func TestNoCluster(t *testing.T) {
	a := app.New(&term.IO{In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer), Now: time.Now})
	for what, tt := range map[string]struct {
		config string
		want   fault.Kind
	}{
		"no file": {"", fault.Config},
		"nobody answers": {`{"clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
			"contexts": [{"name": "x", "context": {"cluster": "x"}}], "current-context": "x"}`, fault.Unreachable},
	} {
		file := filepath.Join(t.TempDir(), "config")
		if tt.config != "" {
			if err := os.WriteFile(file, []byte(tt.config), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := pool.New(a)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs([]string{"list", "--kubeconfig", file})
		if err := cmd.ExecuteContext(t.Context()); fault.Of(err) != tt.want {
			t.Errorf("%s: %v is %s, want %s", what, err, fault.Of(err), tt.want)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
