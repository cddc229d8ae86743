//go:build e2e

package examples

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/test/e2e/user"
)

const (
	// limit bounds one example on one side; the slowest needs a minute.
	limit = 10 * time.Minute
	// tools is the image of the test bed with what the examples call.
	tools = "registry.local/tools:1"
)

// TestExamples runs the examples. In the environment:
//
//	KUBECONFIG            the test bed
//	OUTRIGGER_E2E_POOL    the pool of Linux machines (default hosts)
//	OUTRIGGER_E2E_SIDE    "node": only that side, nothing is compared
func TestExamples(t *testing.T) {
	c, err := user.Connect(os.Getenv("KUBECONFIG"), "kubectl")
	if err != nil {
		t.Fatalf("KUBECONFIG: %v", err)
	}
	all, err := Load(t.Context(), "../../kube")
	if err != nil {
		t.Fatal(err)
	}
	table, err := ReadTable("expected.txt")
	if err != nil {
		t.Fatal(err)
	}
	nodeOnly := os.Getenv("OUTRIGGER_E2E_SIDE") == "node"
	pool := os.Getenv("OUTRIGGER_E2E_POOL")
	if pool == "" {
		pool = "hosts"
	}
	for i, example := range all {
		t.Run(example.Name, func(t *testing.T) {
			t.Parallel()
			row, ok := table[example.Name]
			if !ok {
				t.Fatal("expected.txt has no line for it")
			}
			if row.Verdict == Cannot {
				t.Logf("cannot run here: %s", row.Why)
				return
			}
			sides := map[string][]*unstructured.Unstructured{"node": Node(example.Objects, tools)}
			if !nodeOnly {
				sides["machine"] = Machine(example.Objects, pool, tools)
			}
			outcomes := runSides(t, c, fmt.Sprintf("example-%03d", i), sides)
			if node := outcomes["node"]; node.Succeeded == (row.Verdict == Fails) {
				t.Errorf("expected.txt says %s, and on the node it was:\n%s", row.Verdict, node.Text)
			}
			if nodeOnly {
				t.Log(outcomes["node"].Text)
				return
			}
			// Some examples print the name of their image.
			known := map[string]string{tools: "IMAGE"}
			for _, name := range images(example.Objects) {
				known[name] = "IMAGE"
			}
			diff := cmp.Diff(normal(outcomes["node"].Text, known), normal(outcomes["machine"].Text, known))
			switch {
			case diff != "" && row.Verdict != Different:
				t.Errorf("on the machine (+) it is not as on the node (-):\n%s", diff)
			case diff == "" && row.Verdict == Different:
				t.Errorf("it is the same by now, but expected.txt says different: %s", row.Why)
			case diff != "":
				t.Logf("different, as expected (%s):\n%s", row.Why, diff)
			}
		})
	}
	for name := range table {
		if !slices.ContainsFunc(all, func(e Example) bool { return e.Name == name }) {
			t.Errorf("expected.txt has a line for %s, and Tekton has no such example", name)
		}
	}
}

// runSides runs all sides at once and returns their outcomes.
func runSides(t *testing.T, c *user.Cluster, namespace string, sides map[string][]*unstructured.Unstructured) map[string]Outcome {
	t.Helper()
	type answer struct {
		side    string
		outcome Outcome
		err     error
	}
	answers := make(chan answer)
	for name, objects := range sides {
		go func() {
			o, err := run(t.Context(), c, namespace+"-"+name, objects)
			answers <- answer{name, o, err}
		}()
	}
	found := map[string]Outcome{}
	for range sides {
		a := <-answers
		if a.err != nil {
			t.Errorf("%s: %v\nso far:\n%s", a.side, a.err, a.outcome.Text)
		}
		found[a.side] = a.outcome
	}
	if t.Failed() {
		t.FailNow()
	}
	return found
}

// run runs the objects in a namespace and returns their outcome, as far as they came when there is an error.
func run(ctx context.Context, c *user.Cluster, namespace string, objects []*unstructured.Unstructured) (Outcome, error) {
	n, err := c.Namespace(ctx, namespace, nil)
	if err != nil {
		return Outcome{}, err
	}
	if err = n.Create(ctx, objects...); err == nil {
		err = n.Finish(ctx, limit)
	}
	o, outcomeErr := outcome(ctx, n)
	return o, errors.Join(err, outcomeErr, n.Delete(context.WithoutCancel(ctx)))
}
