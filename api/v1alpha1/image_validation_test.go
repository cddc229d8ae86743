//go:build linux

package v1alpha1_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
)

func newImage(name string, change func(*v1alpha1.MachineImageSpec)) *v1alpha1.MachineImage {
	i := &v1alpha1.MachineImage{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MachineImageSpec{Pool: "macs", Base: "sequoia", Script: "true"}}
	if change != nil {
		change(&i.Spec)
	}
	return i
}

func TestImageIsChecked(t *testing.T) {
	c := newClient(t)
	type spec = v1alpha1.MachineImageSpec
	key := &v1alpha1.KeyReference{Name: "scripts", Key: "xcode.sh"}
	file := func(f v1alpha1.ImageFile) func(*spec) {
		return func(s *spec) { s.Files = []v1alpha1.ImageFile{f} }
	}
	for what, tt := range map[string]struct {
		change func(*spec)
		want   string
	}{
		"plain":           {nil, ""},
		"no-pool":         {func(s *spec) { s.Pool = "" }, "spec.pool"},
		"no-base":         {func(s *spec) { s.Base = "" }, "spec.base"},
		"no-script":       {func(s *spec) { s.Script = "" }, "exactly one is wanted: script or scriptFrom"},
		"script-from":     {func(s *spec) { s.Script, s.ScriptFrom = "", key }, ""},
		"two-scripts":     {func(s *spec) { s.ScriptFrom = key }, "exactly one is wanted: script or scriptFrom"},
		"long-script":     {func(s *spec) { s.Script = strings.Repeat("x", 256<<10+1) }, "spec.script"},
		"no-key":          {func(s *spec) { s.Script, s.ScriptFrom = "", &v1alpha1.KeyReference{Name: "scripts"} }, "spec.scriptFrom.key"},
		"file":            {file(v1alpha1.ImageFile{Path: "/etc/motd", ConfigMap: key}), ""},
		"file-of-windows": {file(v1alpha1.ImageFile{Path: "C:/ci/tool.cfg", Secret: key}), ""},
		"file-at-home":    {file(v1alpha1.ImageFile{Path: "~/.zprofile", Secret: key}), ""},
		"file-backslash":  {file(v1alpha1.ImageFile{Path: `C:\ci\tool.cfg`, Secret: key}), "spec.files[0].path"},
		"file-of-nothing": {file(v1alpha1.ImageFile{Path: "/etc/motd"}), "exactly one is wanted: configMap or secret"},
		"file-of-both":    {file(v1alpha1.ImageFile{Path: "/etc/motd", ConfigMap: key, Secret: key}), "exactly one is wanted: configMap or secret"},
		"relative-file":   {file(v1alpha1.ImageFile{Path: "motd", ConfigMap: key}), "spec.files[0].path"},
		"folder":          {file(v1alpha1.ImageFile{Path: "/etc/", ConfigMap: key}), "spec.files[0].path"},
		"file-mode":       {file(v1alpha1.ImageFile{Path: "/etc/motd", ConfigMap: key, Mode: new(int32(0o755))}), ""},
		"setuid":          {file(v1alpha1.ImageFile{Path: "/etc/motd", ConfigMap: key, Mode: new(int32(0o4755))}), "spec.files[0].mode"},
		"file-twice": {func(s *spec) {
			s.Files = []v1alpha1.ImageFile{{Path: "/etc/motd", ConfigMap: key}, {Path: "/etc/motd", Secret: key}}
		}, "Duplicate value"},
		"history":         {func(s *spec) { s.History = new(int32(0)) }, ""},
		"long-history":    {func(s *spec) { s.History = new(int32(21)) }, "spec.history"},
		"policy":          {func(s *spec) { s.DeletionPolicy = "Orphan" }, "Unsupported value"},
		"Upper":           {nil, "metadata.name"},
		"with.dot":        {nil, "the name becomes the beginning of the images' names"},
		"0-digit":         {nil, "the name becomes the beginning of the images' names"},
		"use":             {func(s *spec) { s.Use = "plain-0123456789ab" }, ""},
		"keep-on-failure": {func(s *spec) { s.KeepOnFailure = &metav1.Duration{Duration: time.Hour} }, ""},
		"fifty-characters-are-what-a-name-may-have-at-most--": {nil, "the name becomes the beginning of the images' names"},
	} {
		refused(t, what, c.Create(t.Context(), newImage(what, tt.change)), tt.want)
	}
}

func TestImageDefaults(t *testing.T) {
	c := newClient(t)
	i := newImage("image-defaults", nil)
	refused(t, "create", c.Create(t.Context(), i), "")
	s := i.Spec
	if s.History == nil || *s.History != 1 || s.Timeout == nil || s.Timeout.Hours() != 3 || s.DeletionPolicy != v1alpha1.DeletionRetain {
		t.Errorf("defaults: %+v", s)
	}
	for what, tt := range map[string]struct {
		change func(*v1alpha1.MachineImageSpec)
		want   string
	}{
		"pool":   {func(s *v1alpha1.MachineImageSpec) { s.Pool = "others" }, "pool cannot be changed"},
		"base":   {func(s *v1alpha1.MachineImageSpec) { s.Base = "tahoe" }, ""},
		"script": {func(s *v1alpha1.MachineImageSpec) { s.Script = "false" }, ""},
	} {
		refused(t, "get", c.Get(t.Context(), client.ObjectKeyFromObject(i), i), "")
		tt.change(&i.Spec)
		refused(t, what, c.Update(t.Context(), i), tt.want)
	}
}

func TestPoolOfAMachineImage(t *testing.T) {
	c := newClient(t)
	type spec = v1alpha1.MachinePoolSpec
	from := &v1alpha1.ImageReference{Name: "xcode"}
	orka := v1alpha1.ProviderSpec{Orka: &v1alpha1.OrkaProvider{Endpoint: "http://orka", TokenSecretName: "token"}}
	for what, tt := range map[string]struct {
		change func(*spec)
		want   string
	}{
		"image-from-orka":  {func(s *spec) { s.Provider, s.ImageFrom = orka, from }, ""},
		"image-from-qemu":  {func(s *spec) { s.Provider, s.ImageFrom = v1alpha1.ProviderSpec{QEMU: &v1alpha1.QEMUProvider{}}, from }, ""},
		"image-from-local": {func(s *spec) { s.ImageFrom = from }, "imageFrom needs a provider that keeps images"},
		"image-from-ssh":   {func(s *spec) { s.Provider, s.ImageFrom = hosts("mac"), from }, "imageFrom needs a provider that keeps images"},
		"image-and-from":   {func(s *spec) { s.Provider, s.ImageFrom, s.Image = orka, from, "sequoia" }, "image and imageFrom exclude each other"},
		"image-from-none":  {func(s *spec) { s.Provider, s.ImageFrom = orka, &v1alpha1.ImageReference{} }, "spec.imageFrom.name"},
		"config-and-from": {func(s *spec) {
			s.Provider, s.ImageFrom = *orka.DeepCopy(), from
			s.Provider.Orka.VMConfig = "sequoia"
		}, "imageFrom and provider.orka.vmConfig exclude each other"},
	} {
		refused(t, what, c.Create(t.Context(), newPool(what, tt.change)), tt.want)
	}
}
