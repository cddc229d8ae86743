//go:build e2e

package examples

import (
	"context"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/test/e2e/user"
)

// What differs between two runs of one example on the same node, too.
var shapes = []struct {
	pattern *regexp.Regexp
	becomes string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UID"},
	{regexp.MustCompile(`\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?( ?Z|[+-]\d\d:?\d\d)?`), "TIME"},
	// date(1), with busybox's order of fields and with coreutils' in other locales
	{regexp.MustCompile(`(Mon|Tue|Wed|Thu|Fri|Sat|Sun) +(\d+ )?[A-Z][a-z]{2} +[\d: ]+(AM |PM )?[A-Z]{3,4}( \d{4})?`), "DATE"},
	{regexp.MustCompile(`\b1[6-9]\d{8}(\.\d+)?\b`), "SECONDS"},
	{regexp.MustCompile(`\b\d{2}:\d{2}:\d{2}\b`), "CLOCK"},
	{regexp.MustCompile(`\bws-[a-z0-9]{5}\b`), "ws-RANDOM"},  // Tekton's volume of a workspace
	{regexp.MustCompile(`\bpvc-[0-9a-f]{10}\b`), "pvc-HASH"}, // Tekton's claim of a template
	{regexp.MustCompile(`\(image: "[^"]*"\)`), "(image)"},    // in messages of failed steps
	{regexp.MustCompile(`/tekton/scripts/script-(\d+)-[a-z0-9]{5}`), "/tekton/scripts/script-$1-RANDOM"},
}

// chatter are lines of which there are more or fewer, depending on the time that passes.
var chatter = regexp.MustCompile(`(?m)^(Waiting for /workspace/signals/ready|Polling channel\.\.\.)$`)

// traced sorts what `set -x` says of commands that follow one another: those of a
// pipeline are started at once, and each says so itself.
func traced(lines []string) []string {
	for i := 0; i < len(lines); i++ {
		n := i
		for n < len(lines) && strings.HasPrefix(lines[n], "+ ") {
			n++
		}
		slices.Sort(lines[i:n])
		i = max(i, n)
	}
	return lines
}

// normal replaces in text what may differ between two runs of an example: names
// that are known, then what has a shape. known maps a name to what it becomes.
func normal(text string, known map[string]string) string {
	longest := sorted(known)
	// A name may be part of a longer one.
	slices.SortStableFunc(longest, func(a, b string) int { return len(b) - len(a) })
	for _, name := range longest {
		text = strings.ReplaceAll(text, name, known[name])
	}
	for _, shape := range shapes {
		text = shape.pattern.ReplaceAllString(text, shape.becomes)
	}
	return text
}

// names are those that only this namespace has: of its namespace, Pods' addresses.
func names(ctx context.Context, n *user.Namespace) (map[string]string, error) {
	known := map[string]string{n.Name: "NAMESPACE"}
	pods, err := n.Typed.CoreV1().Pods(n.Name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, pod := range pods.Items {
		if pod.Status.PodIP != "" {
			known[pod.Status.PodIP] = "ADDRESS"
		}
	}
	return known, nil
}

// images returns the names of images that Node replaces.
func images(objects []*unstructured.Unstructured) []string {
	found := map[string]bool{}
	rewrite(objects, func(o *unstructured.Unstructured) {
		replaceImages(o.Object, "", func(name string) { found[name] = true })
	})
	return sorted(found)
}
