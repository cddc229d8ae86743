//go:build linux

package v1alpha1_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/test/apiserver"
)

var server *apiserver.Server

func TestMain(m *testing.M) { apiserver.Main(m, &server) }

func newClient(t *testing.T) client.Client {
	t.Helper()
	c, err := client.New(server.Config(), client.Options{Scheme: server.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused checks an answer of the API server: "" wants none, else what it is to say.
func refused(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && err == nil:
		t.Errorf("%s: accepted; want %q", what, want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("%s: %v\nwant %q", what, err, want)
	}
}

func newPool(name string, change func(*v1alpha1.MachinePoolSpec)) *v1alpha1.MachinePool {
	p := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "amd64", Max: 3, Trust: v1alpha1.TrustShared, Provider: v1alpha1.ProviderSpec{Local: &v1alpha1.LocalProvider{}},
	}}
	if change != nil {
		change(&p.Spec)
	}
	return p
}

func TestPoolIsChecked(t *testing.T) {
	c := newClient(t)
	type spec = v1alpha1.MachinePoolSpec
	for what, tt := range map[string]struct {
		change func(*spec)
		want   string
	}{
		"plain":               {nil, ""},
		"no-provider":         {func(s *spec) { s.Provider = v1alpha1.ProviderSpec{} }, "exactly one provider is wanted"},
		"two-providers":       {func(s *spec) { s.Provider.QEMU = &v1alpha1.QEMUProvider{} }, "exactly one provider is wanted"},
		"qemu":                {func(s *spec) { s.Provider = v1alpha1.ProviderSpec{QEMU: &v1alpha1.QEMUProvider{}} }, ""},
		"warm-above-max":      {func(s *spec) { s.Warm = new(int32(4)) }, "warm is more than max"},
		"warm-at-max":         {func(s *spec) { s.Warm = new(int32(3)) }, ""},
		"max-below-default":   {func(s *spec) { s.Max = 0 }, "warm is more than max"},
		"negative-warm":       {func(s *spec) { s.Warm = new(int32(-1)) }, "greater than or equal to 0"},
		"unknown-os":          {func(s *spec) { s.OS = "plan9" }, "Unsupported value"},
		"unknown-arch":        {func(s *spec) { s.Arch = "mips" }, "Unsupported value"},
		"no-hosts":            {func(s *spec) { s.Provider = v1alpha1.ProviderSpec{SSH: &v1alpha1.SSHProvider{}} }, "hosts"},
		"host-twice":          {func(s *spec) { s.Provider = hosts("mac", "mac") }, "Duplicate value"},
		"hosts":               {func(s *spec) { s.Provider = hosts("mac", "mini") }, ""},
		"revert-without-qemu": {func(s *spec) { s.Reuse = &v1alpha1.ReuseSpec{Policy: v1alpha1.ReuseRevert} }, "reuse.policy Revert needs a provider"},
		"unknown-reuse":       {func(s *spec) { s.Reuse = &v1alpha1.ReuseSpec{Policy: "Recycle"} }, "Unsupported value"},
		"reach":               {func(s *spec) { s.Provider = hosts("mac"); s.Reach = &v1alpha1.ReachSpec{Network: "orka"} }, ""},
		"reach-proxies": {func(s *spec) {
			s.Provider = hosts("mac")
			s.Reach = &v1alpha1.ReachSpec{Proxies: []string{"socks5://p:1080", "http://[fd00::1]:3128"}}
		}, ""},
		"reach-nothing": {func(s *spec) { s.Provider = hosts("mac"); s.Reach = &v1alpha1.ReachSpec{} }, "reach wants either network"},
		"reach-both": {func(s *spec) {
			s.Provider = hosts("mac")
			s.Reach = &v1alpha1.ReachSpec{Network: "orka", Proxies: []string{"http://p"}}
		}, "reach wants either network"},
		"reach-bad-network": {func(s *spec) { s.Provider = hosts("mac"); s.Reach = &v1alpha1.ReachSpec{Network: "Orka"} }, "spec.reach.network"},
		"reach-password": {func(s *spec) {
			s.Provider = hosts("mac")
			s.Reach = &v1alpha1.ReachSpec{Proxies: []string{"http://u:p@h"}}
		}, "spec.reach.proxies[0]"},
		"reach-local":  {func(s *spec) { s.Reach = &v1alpha1.ReachSpec{Network: "orka"} }, "reach is for machines elsewhere"},
		"hosts-of-all": {func(s *spec) { s.Provider, s.Trust = hosts("mac"), "" }, "set trust to None"},
		"hosts-of-some": {func(s *spec) {
			s.Provider, s.Trust, s.AllowedNamespaces = hosts("mac"), "", &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
		}, ""},
		"hosts-once": {func(s *spec) {
			s.Provider, s.Trust, s.Reuse = hosts("mac"), "", &v1alpha1.ReuseSpec{Policy: v1alpha1.ReuseNever}
		}, "set trust to None"},
		"hosts-apart":   {func(s *spec) { s.Provider, s.Trust = hosts("mac"), v1alpha1.TrustNone }, ""},
		"windows-apart": {func(s *spec) { s.OS, s.Provider, s.Trust = "windows", hosts("pc"), v1alpha1.TrustNone }, "trust None is for ssh hosts of macOS and Linux"},
		"vms-apart": {func(s *spec) {
			s.Provider, s.Trust = v1alpha1.ProviderSpec{QEMU: &v1alpha1.QEMUProvider{}}, v1alpha1.TrustNone
		}, "trust None is for ssh hosts of macOS and Linux"},
		"vms-cleaned": {func(s *spec) {
			s.Provider, s.Trust, s.Reuse = v1alpha1.ProviderSpec{QEMU: &v1alpha1.QEMUProvider{}}, "", &v1alpha1.ReuseSpec{Policy: v1alpha1.ReuseClean}
		}, "set trust to None"},
		"vms-once":      {func(s *spec) { s.Provider, s.Trust = v1alpha1.ProviderSpec{QEMU: &v1alpha1.QEMUProvider{}}, "" }, ""},
		"local-cleaned": {func(s *spec) { s.Trust, s.Reuse = "", &v1alpha1.ReuseSpec{Policy: v1alpha1.ReuseClean} }, ""},
		"apart-at-the-screen": {func(s *spec) {
			s.OS, s.Provider, s.Trust = "darwin", hosts("mac"), v1alpha1.TrustNone
			s.Preparation = &v1alpha1.PreparationSpec{Require: []v1alpha1.OptionalStep{"Clock", "AquaSession"}}
		}, "a slot's own user is not logged in at the screen"},
		"apart-signing": {func(s *spec) {
			s.OS, s.Provider, s.Trust = "darwin", hosts("mac"), v1alpha1.TrustNone
			s.Preparation = &v1alpha1.PreparationSpec{BuildKeychain: &v1alpha1.BuildKeychain{SecretName: "ids"}}
		}, "trust None excludes preparation.buildKeychain"},
		"unknown-trust": {func(s *spec) { s.Trust = "Some" }, "Unsupported value"},
		"empty-login":   {func(s *spec) { s.Login = &v1alpha1.LoginSpec{} }, "user"},
	} {
		refused(t, what, c.Create(t.Context(), newPool(what, tt.change)), tt.want)
	}
}

func hosts(addresses ...string) v1alpha1.ProviderSpec {
	s := &v1alpha1.SSHProvider{}
	for _, a := range addresses {
		s.Hosts = append(s.Hosts, v1alpha1.SSHHost{Address: a})
	}
	return v1alpha1.ProviderSpec{SSH: s}
}

func TestPoolDefaults(t *testing.T) {
	c := newClient(t)
	p := newPool("defaults", func(s *v1alpha1.MachinePoolSpec) { s.Reuse, s.Provider = &v1alpha1.ReuseSpec{}, hosts("mac") })
	refused(t, "create", c.Create(t.Context(), p), "")
	s := p.Spec
	if s.Warm == nil || *s.Warm != 1 || s.MaxCreating != 4 || s.BootTimeout == nil || s.BootTimeout.Minutes() != 10 ||
		s.Reuse.Policy != v1alpha1.ReuseNever || s.Provider.SSH.Hosts[0].Port != 22 || s.Provider.SSH.Hosts[0].Slots != 1 {
		t.Errorf("defaults: %+v", s)
	}
}

func TestWhatCannotChange(t *testing.T) {
	c := newClient(t)
	p := newPool("fixed", nil)
	refused(t, "create", c.Create(t.Context(), p), "")
	for what, tt := range map[string]struct {
		change func(*v1alpha1.MachinePoolSpec)
		want   string
	}{
		"os":       {func(s *v1alpha1.MachinePoolSpec) { s.OS = "darwin" }, "os and arch of a pool cannot be changed"},
		"arch":     {func(s *v1alpha1.MachinePoolSpec) { s.Arch = "arm64" }, "os and arch of a pool cannot be changed"},
		"max":      {func(s *v1alpha1.MachinePoolSpec) { s.Max = 0 }, "warm is more than max"},
		"warm":     {func(s *v1alpha1.MachinePoolSpec) { s.Warm = new(int32(9)) }, "warm is more than max"},
		"image":    {func(s *v1alpha1.MachinePoolSpec) { s.Image = "new" }, ""},
		"provider": {func(s *v1alpha1.MachinePoolSpec) { s.Provider = hosts("mac") }, ""},
	} {
		q := p.DeepCopy()
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(p), q); err != nil {
			t.Fatal(err)
		}
		tt.change(&q.Spec)
		refused(t, what, c.Update(t.Context(), q), tt.want)
	}
}

// A machine that a claim has goes to another only through being free.
func TestClaimOfMachine(t *testing.T) {
	c := newClient(t)
	m := &v1alpha1.Machine{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Spec: v1alpha1.MachineSpec{Pool: "p", Image: "i"}}
	refused(t, "create", c.Create(t.Context(), m), "")
	one := &v1alpha1.ClaimReference{Namespace: "default", Name: "one", UID: "1"}
	two := &v1alpha1.ClaimReference{Namespace: "default", Name: "one", UID: "2"}
	for _, tt := range []struct {
		what   string
		change func(*v1alpha1.MachineSpec)
		want   string
	}{
		{"bind", func(s *v1alpha1.MachineSpec) { s.Claim = one }, ""},
		{"swap", func(s *v1alpha1.MachineSpec) { s.Claim = two }, "must be released first"},
		{"pool", func(s *v1alpha1.MachineSpec) { s.Pool = "q" }, "a machine stays in its pool"},
		{"image", func(s *v1alpha1.MachineSpec) { s.Image = "j" }, "a machine keeps its image"},
		{"release", func(s *v1alpha1.MachineSpec) { s.Claim = nil }, ""},
		{"bind to another", func(s *v1alpha1.MachineSpec) { s.Claim = two }, ""},
	} {
		next := m.DeepCopy()
		tt.change(&next.Spec)
		err := c.Update(t.Context(), next)
		refused(t, tt.what, err, tt.want)
		if err == nil {
			m = next
		}
	}
	stale := m.DeepCopy()
	stale.ResourceVersion = "1"
	refused(t, "a stale write", c.Update(t.Context(), stale), "the object has been modified")
}

func TestClaimIsFixed(t *testing.T) {
	c := newClient(t)
	cl := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "c"}, Spec: v1alpha1.MachineClaimSpec{
		Pool: "p", Resources: &corev1.ResourceRequirements{}, Holder: &v1alpha1.Holder{Kind: "Pod", Name: "x", UID: "u"},
	}}
	refused(t, "create", c.Create(t.Context(), cl), "")
	cl.Spec.Priority = 7
	refused(t, "change", c.Update(t.Context(), cl), "a claim cannot be changed")
	for what, spec := range map[string]v1alpha1.MachineClaimSpec{
		"no-pool": {}, "holder": {Pool: "p", Holder: &v1alpha1.Holder{Kind: "Job", Name: "x", UID: "u"}},
	} {
		if err := c.Create(t.Context(), &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: what}, Spec: spec}); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

// Who makes claims by hand is held to the same limit as the webhook holds Pods to.
func TestHowLongAClaimKeepsItsMachine(t *testing.T) {
	c := newClient(t)
	for _, tt := range []struct {
		name string
		keep time.Duration
		want string
	}{
		{"a-day", 24 * time.Hour, ""},
		{"none", 0, ""},
		{"longer", 24*time.Hour + time.Second, "keep is at most 24h"},
		{"a-year", 365 * 24 * time.Hour, "keep is at most 24h"},
		{"negative", -time.Second, "not negative"},
	} {
		cl := &v1alpha1.MachineClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "keep-" + tt.name},
			Spec:       v1alpha1.MachineClaimSpec{Pool: "p", Keep: &metav1.Duration{Duration: tt.keep}},
		}
		refused(t, tt.name, c.Create(t.Context(), cl), tt.want)
	}
}
