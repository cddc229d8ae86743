package podrelay

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/worksync/ignore"
)

// views reads "v0: /a /b=file !pattern", one view a line.
func views(text string) []seen {
	var all []seen
	for line := range strings.Lines(text) {
		id, rest, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		v := seen{View: handoff.View{ID: id}}
		for _, w := range strings.Fields(rest) {
			if p, ok := strings.CutPrefix(w, "!"); ok {
				v.Exclude = append(v.Exclude, p)
				continue
			}
			p, file := strings.CutSuffix(w, "=file")
			v.mounts = append(v.mounts, found{Mount: handoff.Mount{Path: p}, local: strings.TrimPrefix(p, "/"), file: file})
		}
		all = append(all, v)
	}
	return all
}

// TestLayoutLetsTheMountsThroughAndNothingElse walks paths as a scan does.
func TestLayoutLetsTheMountsThroughAndNothingElse(t *testing.T) {
	for _, tt := range []struct {
		name, views string
		in, out     []string // paths of files in v0, and not
	}{
		{"one mount", "v0: /workspace",
			[]string{"workspace/a", "workspace/b/c", "workspace/b/results/x", "workspace/tekton/run/x"},
			[]string{"etc/passwd", "workspace2/a", "a", "b/workspace/a", "workspace/lost+found/x"}},
		{"mounts with a common parent", "v0: /tekton/results /tekton/steps /workspace",
			[]string{"tekton/results/r", "tekton/steps/s/exitCode", "workspace/x"},
			[]string{"tekton/run/0/status", "tekton/bin/entrypoint", "tekton/creds/.ssh/id", "tekton/x", "tekton/resultsx/y"}},
		{"what steps say of themselves", "v0: /tekton/run/0/status /tekton/steps", []string{"tekton/run/0/status/results/r", "tekton/steps/step-one"},
			[]string{"tekton/run/0/out", "tekton/run/1/status/results/r", "tekton/run/0/statusx"}},
		{"deep", "v0: /var/lib/data/x", []string{"var/lib/data/x/y"}, []string{"var/lib/data/z", "var/log/x", "var/run/secrets/kubernetes.io/serviceaccount/token"}},
		{"a mount in a mount of one view is part of it", "v0: /a /a/b/c", []string{"a/x", "a/b/x", "a/b/c/x"}, []string{"b/x"}},
		{"a mount of another view is a hole", "v0: /a\nv1: /a/b", []string{"a/x", "a/bc/x", "a/x/b/y"}, []string{"a/b/x"}},
		{"a mount around is the other view's", "v0: /a/b\nv1: /a", []string{"a/b/x"}, []string{"a/x", "a/c/b/x"}},
		{"what the user leaves out", "v0: /a !node_modules/ !/a/*.log", []string{"a/x", "a/b/x.log"}, []string{"a/node_modules/x", "a/b/node_modules/x", "a/x.log"}},
		{"what nobody can ask for", "v0: /a !!/tekton !!/tekton/run !!/var !!/var/run", []string{"a/x"},
			[]string{"tekton/run/x", "var/run/secrets/kubernetes.io/serviceaccount/token", "outrigger/claim/claim.json", "proc/1/environ"}},
		{"a file", "v0: /etc/app/conf=file", []string{"etc/app/conf"}, []string{"etc/app/conf2", "etc/passwd", "etc/app/x/conf"}},
		{"the termination log", "v0: /dev/termination-log=file", []string{"dev/termination-log"}, []string{"dev/null", "dev/shm/x"}},
		{"letters that mean something in patterns", "v0: /a*b /[c]", []string{"a*b/x", "[c]/x"}, []string{"axb/x", "c/x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := views(tt.views)
			p := layout(all[0], all)
			m, err := ignore.Parse(p.exclude)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range tt.in {
				if m.Excluded(path, false) {
					t.Errorf("%s is left out by %q", path, p.exclude)
				}
			}
			for _, path := range tt.out {
				if !m.Excluded(path, false) {
					t.Errorf("%s is let through by %q", path, p.exclude)
				}
			}
		})
	}
}

func TestFixedAreMountsAndWhatHoldsThem(t *testing.T) {
	all := views("v0: /a/b /c/d=file\nv1: /a/b/e/f\nv2: /x")
	got := layout(all[0], all)
	if diff := cmp.Diff([]string{"a", "a/b", "a/b/e", "a/b/e/f", "c", "c/d"}, got.fixed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.probe != "a/b" {
		t.Errorf("probe in %q, want a/b", got.probe)
	}
}

func TestLinks(t *testing.T) {
	for _, tt := range []struct {
		name, views string
		tekton      bool
		want        []string
	}{
		{"a mount under its own path", "v0: /workspace /data/x", false, []string{"/data/x -> v0/data/x", "/workspace -> v0/workspace"}},
		{"Tekton's together", "v0: /workspace /tekton/results /tekton/steps\nv1: /tekton/creds", true, []string{
			"/tekton -> .at/tekton", "/workspace -> v0/workspace", "in .at/tekton/creds -> v1/tekton/creds",
			"in .at/tekton/results -> v0/tekton/results", "in .at/tekton/steps -> v0/tekton/steps"}},
		{"one view's mount in another's, when that is there", "v0: /a\nv1: /a/b/c", false, []string{"/a -> v0/a", "late v0/a/b/c -> v1/a/b/c"}},
		{"three deep", "v0: /a\nv1: /a/b\nv2: /a/b/c", false, []string{"/a -> v0/a", "late v0/a/b -> v1/a/b", "late v1/a/b/c -> v2/a/b/c"}},
		{"a mount in one of its own view", "v0: /a /a/b", false, []string{"/a -> v0/a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, l := range links(views(tt.views), tt.tekton) {
				how := ""
				switch {
				case l.Late && l.Inside:
					how = "late "
				case l.Inside:
					how = "in "
				}
				got = append(got, fmt.Sprintf("%s%s -> %s", how, l.Path, l.Target))
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWanted(t *testing.T) {
	for path, want := range map[string]bool{
		"/workspace": true, "/tekton/results": true, "/tekton/run/0": false, "/tekton/run/0/status": true, "/tekton/run/0/statusx": false, "/tekton/runner": true, "/tmp": false, "/tmp/x": true,
		"/var/run/secrets/kubernetes.io/serviceaccount": false, "/var/run/secrets/mine": true, "/dev/kvm": false, "/outrigger/state": false, "/sys": false,
	} {
		if got := wanted(path); got != want {
			t.Errorf("wanted(%q) = %v", path, got)
		}
	}
}

func TestTangled(t *testing.T) {
	for text, want := range map[string]string{
		"v0: /a /a/b/c\nv1: /a/b": "/a/b/c", "v0: /a\nv1: /a/b\nv2: /a/b/c": "", "v0: /a /a/b\nv1: /a/b/c": "",
	} {
		if got := tangled(views(text)); got != want {
			t.Errorf("tangled(%q) = %q, want %q", text, got, want)
		}
	}
}
