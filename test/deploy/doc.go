// Package deploy tests the manifests of deploy/: that the Helm chart and the
// kustomization say the same, and that a real API server takes them. It is a
// module of its own, since Helm and kustomize bring a hundred others along.
package deploy
