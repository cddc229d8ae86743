//go:build linux

package v1alpha1_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/api/v1alpha1"
)

func TestPreparationIsChecked(t *testing.T) {
	c := newClient(t)
	type spec = v1alpha1.MachinePoolSpec
	mac := func(p v1alpha1.PreparationSpec) func(*spec) {
		return func(s *spec) { s.OS, s.Arch, s.Provider, s.Preparation = "darwin", "arm64", hosts("mac"), &p }
	}
	for what, tt := range map[string]struct {
		change func(*spec)
		want   string
	}{
		"prepare-mac": {mac(v1alpha1.PreparationSpec{
			Skip: []v1alpha1.OptionalStep{"KeepAwake"}, Require: []v1alpha1.OptionalStep{"AquaSession"}, DisablePasswordLogin: true,
			RootFolders: []string{"data"}, BuildKeychain: &v1alpha1.BuildKeychain{SecretName: "identities"},
		}), ""},
		"prepare-unknown-step": {mac(v1alpha1.PreparationSpec{Skip: []v1alpha1.OptionalStep{"Coffee"}}), "Unsupported value"},
		"prepare-no-key":       {mac(v1alpha1.PreparationSpec{Skip: []v1alpha1.OptionalStep{"KeyLogin"}}), "Unsupported value"},
		"prepare-bad-folder":   {mac(v1alpha1.PreparationSpec{RootFolders: []string{"a/b"}}), "rootFolders"},
		"prepare-no-secret":    {mac(v1alpha1.PreparationSpec{BuildKeychain: &v1alpha1.BuildKeychain{}}), "secretName"},
		"prepare-linux-keychain": {func(s *spec) {
			s.Preparation = &v1alpha1.PreparationSpec{BuildKeychain: &v1alpha1.BuildKeychain{SecretName: "x"}}
		}, "buildKeychain needs macOS"},
		"prepare-windows-passwords": {func(s *spec) {
			s.OS, s.Provider, s.Preparation = "windows", hosts("w"), &v1alpha1.PreparationSpec{DisablePasswordLogin: true}
		}, "is for macOS and Linux"},
		"prepare-local-passwords": {func(s *spec) { s.Preparation = &v1alpha1.PreparationSpec{DisablePasswordLogin: true} }, "the controller's own computer"},
	} {
		refused(t, what, c.Create(t.Context(), newPool(what, tt.change)), tt.want)
	}
}

func TestPreparationDefaults(t *testing.T) {
	c := newClient(t)
	p := newPool("prepare-defaults", func(s *v1alpha1.MachinePoolSpec) { s.Preparation = &v1alpha1.PreparationSpec{} })
	refused(t, "create", c.Create(t.Context(), p), "")
	got := p.Spec.Preparation
	if diff := cmp.Diff([]string{"workspace", "tekton"}, got.RootFolders); diff != "" || got.MinFreeDisk == nil || got.MinFreeDisk.String() != "2Gi" {
		t.Errorf("defaults: %+v", got)
	}
}
