//go:build linux

package apiserver

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// PipelineRun is the kind that [Server.ServePipelineRuns] makes known.
var PipelineRun = schema.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: "PipelineRun"}

// pipelineRuns is Tekton's API of them, without its fields. There is no Tekton: a
// run stays as it is written.
const pipelineRuns = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pipelineruns.tekton.dev}
spec:
  group: tekton.dev
  scope: Namespaced
  names: {kind: PipelineRun, plural: pipelineruns, singular: pipelinerun}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// ServePipelineRuns makes the server know PipelineRuns.
func (s *Server) ServePipelineRuns(tb testing.TB) {
	tb.Helper()
	c, err := client.New(s.Config(), client.Options{Scheme: s.Scheme()})
	if err != nil {
		tb.Fatal(err)
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(pipelineRuns), &crd.Object); err != nil {
		tb.Fatal(err)
	}
	if err := establish(tb.Context(), c, crd); err != nil && !apierrors.IsAlreadyExists(err) {
		tb.Fatal(err)
	}
}
