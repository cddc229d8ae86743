//go:build linux

package ready_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/control/places"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/control/ready"
	"outrigger.dev/outrigger/internal/provider/all"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/test/apiserver"
	"outrigger.dev/outrigger/test/controller"
	"outrigger.dev/outrigger/test/macshell"
)

var (
	server *apiserver.Server
	// agents holds the agent of this computer under the names of the systems that the tests' machines say to be.
	agents string
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == local.ServeCommand {
		os.Exit(local.ServeMain(os.Args[2:])) // a machine of the local provider
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ready-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	agents = filepath.Join(dir, "agents")
	if err = os.Mkdir(agents, 0o755); err == nil {
		err = build(agents)
	}
	if err == nil {
		server, err = apiserver.New(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Close()
	return m.Run()
}

func build(dir string) error {
	agent := filepath.Join(dir, "outrigger-agent-darwin-arm64")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", agent, "outrigger.dev/outrigger/cmd/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build agent: %w\n%s", err, out)
	}
	return os.Link(agent, filepath.Join(dir, "outrigger-agent-linux-amd64"))
}

// A world is a controller, a namespace of its own, and a client that looks on.
type world struct {
	*testing.T
	client.Client
	pool string
}

func newWorld(t *testing.T, pool string) *world {
	t.Helper()
	w := &world{T: t, pool: pool}
	var err error
	w.Client, err = client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	w.must(err)
	w.must(w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: pool}}))
	log := controller.Log(t, slog.LevelInfo)
	source := deliver.Dirs(agents)
	controller.Start(t, server.Config(), manager.Options{
		Namespace: pool, Log: log,
		Places:  places.New(all.Place{State: t.TempDir(), Agents: source, Log: log}),
		Readier: ready.New(source, reach.Options{}, log),
		Times:   pools.Times{Backoff: 50 * time.Millisecond, Herald: 20 * time.Millisecond},
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// macs makes a pool of one Mac that exists, entered with the password of its image.
func (w *world) macs(m *macshell.Mac, change func(*v1alpha1.MachinePoolSpec)) {
	w.Helper()
	w.secret("login", map[string][]byte{"password": []byte(macshell.Password)})
	one := int32(1)
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.pool}, Spec: v1alpha1.MachinePoolSpec{
		OS: "darwin", Arch: "arm64", Warm: &one, Max: 1, BootTimeout: &metav1.Duration{Duration: 5 * time.Minute},
		Provider: v1alpha1.ProviderSpec{SSH: &v1alpha1.SSHProvider{Hosts: []v1alpha1.SSHHost{{Address: m.Host, Port: int32(m.Port)}}}},
		Login:    &v1alpha1.LoginSpec{User: macshell.User, SecretName: "login"},
		Reuse:    &v1alpha1.ReuseSpec{Policy: v1alpha1.ReuseClean},
		Trust:    v1alpha1.TrustShared,
	}}
	if change != nil {
		change(&p.Spec)
	}
	w.make(p)
}

// make makes a pool that goes with the test, and its machines with it.
func (w *world) make(p *v1alpha1.MachinePool) {
	w.Helper()
	w.must(w.Create(w.Context(), p))
	w.Cleanup(func() {
		ctx := context.WithoutCancel(w.Context())
		w.must(client.IgnoreNotFound(w.Delete(ctx, p)))
		w.eventually("the pool is gone", func() bool {
			return apierrors.IsNotFound(w.Get(ctx, client.ObjectKeyFromObject(p), p)) && len(w.machines()) == 0
		})
	})
}

func (w *world) secret(name string, data map[string][]byte) {
	w.Helper()
	w.must(w.Create(w.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: name}, Data: data}))
}

func (w *world) machines() []v1alpha1.Machine {
	w.Helper()
	var list v1alpha1.MachineList
	w.must(w.List(context.WithoutCancel(w.Context()), &list, client.MatchingLabels{v1alpha1.LabelPool: w.pool}))
	return list.Items
}

// machine waits until the pool's machine is in a phase.
func (w *world) machine(phase v1alpha1.MachinePhase) (m v1alpha1.Machine) {
	w.Helper()
	w.eventually("a machine is "+string(phase), func() bool {
		for _, m = range w.machines() {
			if m.Status.Phase == phase {
				return true
			}
		}
		return false
	})
	return m
}

// conditions says how a machine's conditions stand, a line each.
func conditions(m v1alpha1.Machine) string {
	var b strings.Builder
	for _, c := range m.Status.Conditions {
		fmt.Fprintf(&b, "%s %s %s\n", c.Type, c.Status, c.Reason)
	}
	return b.String()
}

// eventually waits for a fact.
func (w *world) eventually(what string, fact func() bool) {
	w.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if fact() {
			return
		}
	}
	for _, m := range w.machines() {
		w.Logf("machine %s: %s\n%s%+v", m.Name, m.Status.Phase, conditions(m), m.Status.Conditions)
	}
	w.Fatalf("not within two minutes: %s", what)
}
