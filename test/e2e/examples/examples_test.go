//go:build e2e

package examples

import (
	"context"
	"errors"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// limit bounds one example on one side; the slowest needs a minute.
	limit = 5 * time.Minute
	// tools is the image of the test bed with what the examples call.
	tools = "registry.local/tools:1"
)

// TestExamples runs the examples. In the environment:
//
//	KUBECONFIG              the test bed
//	OUTRIGGER_E2E_POOL      the pool of Linux machines (default hosts)
//	OUTRIGGER_E2E_SIDE      "node": only that side, nothing is compared
func TestExamples(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatalf("KUBECONFIG: %v", err)
	}
	c, err := connect(config)
	if err != nil {
		t.Fatal(err)
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
	for _, example := range all {
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
			outcomes := runSides(t, c, example.Name, sides)
			if nodeOnly {
				t.Log(outcomes["node"])
				return
			}
			diff := cmp.Diff(outcomes["node"], outcomes["machine"])
			switch {
			case diff != "" && row.Verdict == Same:
				t.Errorf("on the machine (+) it is not as on the node (-):\n%s", diff)
			case diff == "" && row.Verdict == Different:
				t.Errorf("it is the same by now, but expected.txt says different: %s", row.Why)
			case diff != "":
				t.Logf("different, as expected (%s):\n%s", row.Why, diff)
			}
		})
	}
	for name := range table {
		if !hasExample(all, name) {
			t.Errorf("expected.txt has a line for %s, and Tekton has no such example", name)
		}
	}
}

func hasExample(all []Example, name string) bool {
	for _, e := range all {
		if e.Name == name {
			return true
		}
	}
	return false
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// runSides runs all sides at once and returns their outcomes.
func runSides(t *testing.T, c *cluster, example string, sides map[string][]*unstructured.Unstructured) map[string]string {
	t.Helper()
	type outcome struct {
		side, text string
		err        error
	}
	outcomes := make(chan outcome)
	short := notInNames.ReplaceAllString(strings.ToLower(path.Base(example)), "-")
	kind := strings.ToLower(example[:1]) // p or t: some have the same file name
	if strings.Contains(example, "/beta/") {
		kind += "b"
	}
	for name, objects := range sides {
		// Two lengths of names would give two sets of shortened names.
		s := &side{cluster: c, namespace: strings.Trim("ex-"+name[:1]+"-"+kind+"-"+short[:min(len(short), 40)], "-")}
		go func() {
			text, err := s.run(t.Context(), objects)
			outcomes <- outcome{name, text, err}
		}()
	}
	found := map[string]string{}
	for range sides {
		o := <-outcomes
		if o.err != nil {
			t.Errorf("%s: %v\nso far:\n%s", o.side, o.err, o.text)
		}
		found[o.side] = o.text
	}
	if t.Failed() {
		t.FailNow()
	}
	return found
}

// run runs the objects and returns their outcome, as far as they came when there is an error.
func (s *side) run(ctx context.Context, objects []*unstructured.Unstructured) (string, error) {
	err := s.start(ctx, objects)
	if err == nil {
		err = s.finish(ctx, limit)
	}
	text, outcomeErr := s.outcome(ctx)
	return text, errors.Join(err, outcomeErr, s.stop(context.WithoutCancel(ctx)))
}
