package examples

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
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
	var objects []*unstructured.Unstructured
	names := map[string]int{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var content map[string]any
		if err := decoder.Decode(&content); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(content) == 0 {
			continue
		}
		o := &unstructured.Unstructured{Object: content}
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
		objects = append(objects, o)
	}
}

// runs are the TaskRuns and PipelineRuns among the objects.
func runs(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	for _, o := range objects {
		if isRun(o) {
			found = append(found, o)
		}
	}
	return found
}

func isRun(o *unstructured.Unstructured) bool {
	return strings.HasPrefix(o.GetAPIVersion(), "tekton.dev/") && (o.GetKind() == "TaskRun" || o.GetKind() == "PipelineRun")
}
