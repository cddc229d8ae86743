package examples

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// Node returns the objects for the node: every image is image.
func Node(objects []*unstructured.Unstructured, image string) []*unstructured.Unstructured {
	return rewrite(objects, func(o *unstructured.Unstructured) { replaceImages(o.Object, image, func(string) {}) })
}

// Machine returns the objects for machines of pool: the runs are annotated, and
// sidecars have image.
func Machine(objects []*unstructured.Unstructured, pool, image string) []*unstructured.Unstructured {
	return rewrite(objects, func(o *unstructured.Unstructured) {
		replaceSidecars(o.Object, image)
		if isRun(o) {
			annotations := o.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[v1alpha1.AnnotationPool] = pool
			o.SetAnnotations(annotations)
		}
	})
}

func rewrite(objects []*unstructured.Unstructured, change func(*unstructured.Unstructured)) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		out[i] = o.DeepCopy()
		change(out[i])
	}
	return out
}

// replaceImages sets every field "image", and every other text that is an image
// of one of the registries that the examples use, or the value of a param named
// image: params hand such names on. It tells which.
func replaceImages(value any, image string, tell func(string)) {
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			text, ok := child.(string)
			if ok && (key == "image" && !strings.HasPrefix(text, "$(") || isImage(text) || key == "value" && v["name"] == "image") {
				tell(text)
				v[key] = image
				continue
			}
			replaceImages(child, image, tell)
		}
	case []any:
		for _, child := range v {
			replaceImages(child, image, tell)
		}
	}
}

func replaceSidecars(value any, image string) {
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			if key == "sidecars" {
				replaceImages(child, image, func(string) {})
				continue
			}
			replaceSidecars(child, image)
		}
	case []any:
		for _, child := range v {
			replaceSidecars(child, image)
		}
	}
}

func isImage(text string) bool {
	if strings.ContainsAny(text, " \n") {
		return false
	}
	for _, registry := range []string{"mirror.gcr.io/", "gcr.io/", "ghcr.io/", "cgr.dev/", "docker.io/"} {
		if strings.HasPrefix(text, registry) {
			return true
		}
	}
	return false
}
