package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
)

const root = "../.."

// TestFaultsAreExplained: an error ends with the place in docs/faults.md, so there must be one,
// and it must say of exit codes and retries what the table says.
func TestFaultsAreExplained(t *testing.T) {
	text := read(t, "docs/faults.md")
	sections := map[string]string{}
	for s := range strings.SplitSeq(text, "\n## ") {
		title, body, _ := strings.Cut(s, "\n")
		sections[title] = body
	}
	for _, k := range fault.Kinds {
		body, ok := sections[string(k.Kind)]
		if !ok {
			t.Errorf("docs/faults.md has no section \"## %s\"", k.Kind)
			continue
		}
		retry := "no"
		if k.Retry {
			retry = "yes"
		}
		want := fmt.Sprintf("*Exit %d. Retry: %s.*", k.Exit, retry)
		if !strings.HasPrefix(body, want+" ") {
			t.Errorf("docs/faults.md: %s begins with %.40q, want %q", k.Kind, body, want)
		}
	}
}

// TestDependenciesAreExplained: each direct dependency has a row that says why it is there.
func TestDependenciesAreExplained(t *testing.T) {
	table := read(t, "docs/dependencies.md")
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(read(t, "go.mod"), -1)
	if len(direct) == 0 {
		t.Fatal("go.mod: no direct dependency found")
	}
	for _, d := range direct {
		if !strings.Contains(table, "`"+d[1]+"`") {
			t.Errorf("docs/dependencies.md has no row for %s", d[1])
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(table, -1) {
		if !strings.Contains(read(t, "go.mod"), row[1]+" v") {
			t.Errorf("docs/dependencies.md explains %s, which go.mod does not have", row[1])
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinksLeadSomewhere: every link within the repository leads to a file, and its anchor to a heading.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, file := range markdown(t) {
		for _, m := range link.FindAllStringSubmatch(withoutCode(read(t, file)), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := file
			if target != "" {
				to = filepath.Join(filepath.Dir(file), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: link to %s leads nowhere", file, m[1])
				continue
			}
			if anchor != "" && !hasAnchor(read(t, to), anchor) {
				t.Errorf("%s: link to %s: there is no such heading", file, m[1])
			}
		}
	}
}

func markdown(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			files = append(files, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var fence = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")

func withoutCode(text string) string { return fence.ReplaceAllString(text, "") }

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)

// hasAnchor tells whether text has a heading with that anchor, as GitHub and GitLab make them.
func hasAnchor(text, anchor string) bool {
	for line := range strings.Lines(text) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		made := strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
		if made == anchor {
			return true
		}
	}
	return false
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
