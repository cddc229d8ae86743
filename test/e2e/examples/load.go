package examples

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/test/e2e/user"
)

// An Example is one file of the examples.
type Example struct {
	Name    string // its path below examples/v1, without .yaml
	Objects []*unstructured.Unstructured
}

// Load reads all examples of the Tekton module that the Go module in moduleDir uses.
func Load(ctx context.Context, moduleDir string) ([]Example, error) {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/tektoncd/pipeline")
	list.Dir = moduleDir
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("where Tekton's module is: %w", err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "examples", "v1")
	var all []Example
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		objects, err := parse(data)
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		all = append(all, Example{Name: strings.TrimSuffix(filepath.ToSlash(rel), ".yaml"), Objects: objects})
		return nil
	})
	return all, err
}

// parse reads the documents of one file and gives names to those that have none.
func parse(data []byte) ([]*unstructured.Unstructured, error) {
	objects, err := user.Parse(data)
	if err != nil {
		return nil, err
	}
	names := map[string]int{}
	for _, o := range objects {
		if o.GetName() == "" {
			name := o.GetGenerateName() + "x"
			names[o.GetKind()+name]++
			if n := names[o.GetKind()+name]; n > 1 {
				name += fmt.Sprint(n)
			}
			o.SetGenerateName("")
			o.SetName(name)
		}
		o.SetNamespace("")
	}
	return objects, nil
}

func isRun(o *unstructured.Unstructured) bool {
	return strings.HasPrefix(o.GetAPIVersion(), "tekton.dev/") && (o.GetKind() == "TaskRun" || o.GetKind() == "PipelineRun")
}
