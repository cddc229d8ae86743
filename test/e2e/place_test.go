//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/test/e2e/user"
)

const (
	// tools is an image of the test bed with a shell, coreutils, curl and busybox.
	tools = "registry.local/tools:1"
	// limit bounds every wait; a passing test never sees it.
	limit = 4 * time.Minute
	// mark is the variable by which the processes of a test are found.
	mark = "E2E_MARK"
)

func variable(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func pool() string { return variable("OUTRIGGER_E2E_POOL", "hosts") }

// A place is a test's namespace.
type place struct {
	*user.Namespace
	t *testing.T
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// begin makes a namespace for the test. When the test is over, it sees to it that nothing is left.
func begin(t *testing.T, labels map[string]string) *place {
	t.Helper()
	c, err := user.Connect(os.Getenv("KUBECONFIG"), variable("OUTRIGGER_E2E_KUBECTL", "kubectl"))
	if err != nil {
		t.Fatalf("KUBECONFIG: %v", err)
	}
	name := "e2e-" + notInNames.ReplaceAllString(strings.ToLower(strings.TrimPrefix(t.Name(), "Test")), "-")
	n, err := c.Namespace(t.Context(), name[:min(len(name), 60)], labels)
	if err != nil {
		t.Fatal(err)
	}
	p := &place{Namespace: n, t: t}
	t.Cleanup(p.end)
	return p
}

// end deletes the namespace and waits until the machines are given back and no
// process of the test is on any.
func (p *place) end() {
	ctx := context.WithoutCancel(p.t.Context())
	if p.t.Failed() {
		p.tell(ctx)
	}
	if err := p.Delete(ctx); err != nil {
		p.t.Error(err)
	}
	err := user.Await(ctx, limit, func(ctx context.Context) (string, error) {
		claims, err := p.List(ctx, "outrigger.dev/MachineClaim", p.Name)
		if err != nil {
			return "", err
		}
		if len(claims) > 0 {
			return "claim " + claims[0].GetName() + " is left", nil
		}
		machines, err := p.List(ctx, "outrigger.dev/Machine", "")
		if err != nil {
			return "", err
		}
		for _, m := range machines {
			if namespace, _, _ := unstructured.NestedString(m.Object, "spec", "claim", "namespace"); namespace == p.Name { //nolint:errcheck // no claim then
				return "machine " + m.GetName() + " is still held", nil
			}
		}
		if left := p.remote(); len(left) > 0 {
			return "on a machine is left: " + strings.Join(left, "; "), nil
		}
		return "", nil
	})
	if err != nil {
		p.t.Error(err)
	}
}

// tell writes down what there is to see of a test that failed.
func (p *place) tell(ctx context.Context) {
	for _, args := range [][]string{
		{"get", "pods,machineclaims", "-o", "wide"},
		{"get", "machines,machinepools", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
	} {
		out, err := p.Command(ctx, append([]string{"-n", p.Name}, args...)...).CombinedOutput()
		p.t.Logf("kubectl %s (%v)\n%s", strings.Join(args, " "), err, out)
	}
}

// create creates what the YAML says, with @POOL@, @TOOLS@ and @NAMESPACE@ filled
// in. @MARK@ is the variable by which the processes of a container are found.
func (p *place) create(yaml string) {
	p.t.Helper()
	if err := p.try(yaml); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) try(yaml string) error {
	filled := strings.NewReplacer("@POOL@", pool(), "@TOOLS@", tools, "@NAMESPACE@", p.Name,
		"@MARK@", "{name: "+mark+", value: "+p.Name+"}").Replace(yaml)
	objects, err := user.Parse([]byte(filled))
	if err != nil {
		return err
	}
	return p.Create(p.t.Context(), objects...)
}

// await waits for a fact.
func (p *place) await(ask func(ctx context.Context) (open string, err error)) {
	p.t.Helper()
	if err := user.Await(p.t.Context(), limit, ask); err != nil {
		p.t.Fatal(err)
	}
}

// pod waits until the Pod is as ok says, and returns it.
func (p *place) pod(name string, ok func(*corev1.Pod) bool) *corev1.Pod {
	p.t.Helper()
	var pod *corev1.Pod
	p.await(func(ctx context.Context) (string, error) {
		var err error
		pod, err = p.Typed.CoreV1().Pods(p.Name).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if ok(pod) {
			return "", nil
		}
		return "Pod " + name + " is " + string(pod.Status.Phase), nil
	})
	return pod
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func running(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning }

// run waits until all runs of the namespace are over and returns one.
func (p *place) run(kind, name string) unstructured.Unstructured {
	p.t.Helper()
	if err := p.Finish(p.t.Context(), limit); err != nil {
		p.t.Fatal(err)
	}
	run, err := p.Get(p.t.Context(), "tekton.dev/"+kind, p.Name, name)
	if err != nil {
		p.t.Fatal(err)
	}
	return *run
}

// succeeds waits for a run that must succeed.
func (p *place) succeeds(kind, name string) unstructured.Unstructured {
	p.t.Helper()
	run := p.run(kind, name)
	if c := user.Succeeded(run); c.Status != metav1.ConditionTrue {
		p.t.Fatalf("%s %s: %s: %s", kind, name, c.Reason, c.Message)
	}
	return run
}

// log returns what a container wrote on standard output and on standard error.
func (p *place) log(pod, container string) (stdout, stderr string) {
	p.t.Helper()
	object, err := p.Typed.CoreV1().Pods(p.Name).Get(p.t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	stdout, stderr, err = p.Streams(object, container)
	if err != nil {
		p.t.Fatal(err)
	}
	return stdout, stderr
}

// logs asserts what a container wrote, exactly.
func (p *place) logs(pod, container, want string) {
	p.t.Helper()
	stdout, stderr := p.log(pod, container)
	if stdout != want || stderr != "" {
		p.t.Errorf("%s of Pod %s wrote %q and, on stderr, %q; want %q and nothing", container, pod, stdout, stderr, want)
	}
}

// kubectl runs kubectl in the namespace and returns its standard output.
func (p *place) kubectl(args ...string) string {
	p.t.Helper()
	cmd := p.Command(p.t.Context(), append([]string{"-n", p.Name}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// remote returns the processes of this test that are on a machine: that have the
// mark and are in no container.
func (p *place) remote() []string {
	var found []string
	for _, dir := range processes() {
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !slices.Contains(strings.Split(string(environ), "\x00"), mark+"="+p.Name) {
			continue // ended meanwhile, or somebody else's
		}
		if cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup")); err == nil && !strings.Contains(string(cgroup), "kubepods") {
			line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
			if err == nil && len(line) > 0 {
				found = append(found, filepath.Base(dir)+" "+strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
	}
	return found
}

// killRelay kills the relay of a Pod's container as the kernel does when memory is short.
func (p *place) killRelay(pod *corev1.Pod) {
	p.t.Helper()
	killed := 0
	for _, dir := range processes() {
		cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !strings.Contains(string(cgroup), string(pod.UID)) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !strings.HasPrefix(string(line), "/outrigger/bin/relay\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			p.t.Fatal(err)
		}
		killed++
	}
	if killed == 0 {
		p.t.Fatalf("Pod %s has no relay to kill", pod.Name)
	}
}

func processes() []string {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		panic(err) // the pattern is ours
	}
	return all
}

// pods lists Pods by label.
func (p *place) pods(selector string) []corev1.Pod {
	p.t.Helper()
	list, err := p.Typed.CoreV1().Pods(p.Name).List(p.t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		p.t.Fatal(err)
	}
	return list.Items
}

func eviction(pod string) *policyv1.Eviction {
	return &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod}}
}
