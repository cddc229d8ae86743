//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// captured are Pods of Tekton's examples that differ in what matters to
// internal/admit, with the name of the file that each becomes.
var captured = map[string]string{
	"step-script-x-pod":                                  "scripts.yaml",
	"custom-volume-x-pod":                                "volumes.yaml",
	"task-with-workspace-run-x-pod":                      "workspace.yaml",
	"sidecar-ready-x-pod":                                "sidecar.yaml",
	"creds-init-only-mounts-provided-credentials-x-pod":  "credentials.yaml",
	"step-stream-vol-tr-x-pod":                           "streams.yaml",
	"taskrun-with-failing-step-x-pod":                    "on-error.yaml",
	"secret-env-from-pod":                                "secrets.yaml",
	"steptemplate-env-merge-x-pod":                       "environment.yaml",
	"workspace-isolation-x-pod":                          "isolated-workspace.yaml",
	"when-in-steps-x-pod":                                "when.yaml",
	"step-artifacts-x-pod":                               "artifacts.yaml",
	"parallel-pipelinerun-x-validator-pod":               "affinity-assistant.yaml",
	"retry-example-x-retry-me-pod-retry1":                "retry.yaml",
	"home-volume-x-pod":                                  "home.yaml",
	"tkn-arg-test-x-pod":                                 "command.yaml",
	"workingdir-x-pod":                                   "working-directories.yaml",
	"platforms-with-resultsx-task-consuming-results-pod": "results.yaml",
}

// capture writes Pods, as Tekton asked for them when its examples ran, to
// internal/admit/testdata/tekton.
func capture(_ context.Context, b *bed) error {
	file, err := os.Open(b.in("log", "audit.json"))
	if err != nil {
		return fmt.Errorf("%w: run Tekton's examples on the node first", err)
	}
	defer file.Close()
	out := filepath.Join(b.checkout, "internal", "admit", "testdata", "tekton")
	missing := map[string]bool{}
	for name := range captured {
		missing[name] = true
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var event struct {
			RequestObject map[string]any `json:"requestObject"`
			ObjectRef     struct{ Name, Namespace string }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return err
		}
		metadata, ok := event.RequestObject["metadata"].(map[string]any)
		if !ok {
			continue
		}
		name, _ := metadata["name"].(string)
		if !missing[name] || !strings.HasSuffix(event.ObjectRef.Namespace, "-node") {
			continue
		}
		delete(missing, name)
		delete(event.RequestObject, "status")
		text, err := yaml.Marshal(event.RequestObject)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(out, captured[name]), string(text), 0o644); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for name := range missing {
		err = errors.Join(err, fmt.Errorf("no Pod %s was made: run Tekton's examples on the node", name))
	}
	return err
}
