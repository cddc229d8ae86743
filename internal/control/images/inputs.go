package images

import (
	"context"
	"fmt"
	"io/fs"
	"path"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/imagebuild"
)

// defaultMode is that of a file that says none.
const defaultMode = 0o644

// recipe reads what the image is made from. missing says what is not there, or cannot be so.
func (r *reconciler) recipe(ctx context.Context, i *v1alpha1.MachineImage) (out imagebuild.Recipe, missing string, err error) {
	out = imagebuild.Recipe{Base: i.Spec.Base, Script: []byte(i.Spec.Script)}
	if from := i.Spec.ScriptFrom; from != nil {
		if out.Script, missing, err = r.fromConfigMap(ctx, from); missing != "" || err != nil {
			return out, "spec.scriptFrom: " + missing, err
		}
	}
	for n, f := range i.Spec.Files {
		file := imagebuild.File{Path: path.Clean(f.Path), Mode: defaultMode}
		if f.Mode != nil {
			file.Mode = fs.FileMode(*f.Mode) //nolint:gosec // the API takes 0 to 0777
		}
		if f.Secret != nil {
			file.Content, missing, err = r.fromSecret(ctx, f.Secret)
		} else {
			file.Content, missing, err = r.fromConfigMap(ctx, f.ConfigMap)
		}
		if missing != "" || err != nil {
			return out, fmt.Sprintf("spec.files[%d]: %s", n, missing), err
		}
		out.Files = append(out.Files, file)
	}
	if wrong := out.Check(); wrong != nil {
		return out, wrong.Error(), nil
	}
	return out, "", nil
}

func (r *reconciler) fromConfigMap(ctx context.Context, from *v1alpha1.KeyReference) (content []byte, missing string, err error) {
	var m corev1.ConfigMap
	name := client.ObjectKey{Namespace: r.Namespace, Name: from.Name}
	if err := r.live.Get(ctx, name, &m); apierrors.IsNotFound(err) {
		return nil, fmt.Sprintf("there is no ConfigMap %s", name), nil
	} else if err != nil {
		return nil, "", err
	}
	if text, ok := m.Data[from.Key]; ok {
		return []byte(text), "", nil
	}
	if data, ok := m.BinaryData[from.Key]; ok {
		return data, "", nil
	}
	return nil, fmt.Sprintf("ConfigMap %s has no key %s", name, from.Key), nil
}

func (r *reconciler) fromSecret(ctx context.Context, from *v1alpha1.KeyReference) (content []byte, missing string, err error) {
	var s corev1.Secret
	name := client.ObjectKey{Namespace: r.Namespace, Name: from.Name}
	if err := r.live.Get(ctx, name, &s); apierrors.IsNotFound(err) {
		return nil, fmt.Sprintf("there is no Secret %s", name), nil
	} else if err != nil {
		return nil, "", err
	}
	if data, ok := s.Data[from.Key]; ok {
		return data, "", nil
	}
	return nil, fmt.Sprintf("Secret %s has no key %s", name, from.Key), nil
}

// hasSecrets tells whether something of an image is in Secrets, of whose changes no event tells.
func hasSecrets(i *v1alpha1.MachineImage) bool {
	for _, f := range i.Spec.Files {
		if f.Secret != nil {
			return true
		}
	}
	return false
}

// reads tells whether something of an image is in the ConfigMap of that name.
func reads(i *v1alpha1.MachineImage, configMap string) bool {
	if from := i.Spec.ScriptFrom; from != nil && from.Name == configMap {
		return true
	}
	for _, f := range i.Spec.Files {
		if f.ConfigMap != nil && f.ConfigMap.Name == configMap {
			return true
		}
	}
	return false
}
