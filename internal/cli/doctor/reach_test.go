//go:build linux

package doctor

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/test/sshd"
)

// behindHub gives the pool a network of a hub, and its controller the flags for one.
func (w *world) behindHub(network string) (public []byte) {
	w.Helper()
	private, public, err := creds.NewSigner()
	w.must(err)
	w.must(w.Create(w.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: "outrigger-hub-client"}, Data: map[string][]byte{"pass.key": private, "ca.crt": []byte("the hub's\n")},
	}))
	var d appsv1.Deployment
	w.must(w.Get(w.Context(), client.ObjectKey{Namespace: w.name, Name: "outrigger-controller"}, &d))
	spec := &d.Spec.Template.Spec
	spec.Volumes = []corev1.Volume{{Name: "hub", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "outrigger-hub-client"}}}}
	spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "hub", MountPath: "/etc/hub"}}
	spec.Containers[0].Args = []string{"--leader-elect", "--hub-url=https://hub.example.com:8443", "--hub-pass-key=/etc/hub/pass.key", "--hub-ca-file", "/etc/hub/ca.crt"}
	w.must(w.Update(w.Context(), &d))
	var p v1alpha1.MachinePool
	w.must(w.Get(w.Context(), client.ObjectKey{Name: w.name}, &p))
	p.Spec.Reach = &v1alpha1.ReachSpec{Network: network}
	w.must(w.Update(w.Context(), &p))
	return public
}

// A pool behind a hub is looked at from the Pod alone, with a pass as machines get one.
func TestAPoolBehindAHub(t *testing.T) {
	w := newWorld(t)
	public := w.behindHub("rack")
	out, err := w.call(t.Context(), "--pool", w.name)
	w.must(err)
	w.holds(out, "skipped  tcp ", "through network rack of the hub, which serves the cluster: --in-cluster looks from there")

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = w.call(ctx, "--pool", w.name, "--in-cluster")
	}()
	pod := w.pod()
	var secret corev1.Secret
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(pod), &secret))
	cancel()
	<-ended
	var order look.Order
	w.must(json.Unmarshal(secret.Data[orderFile], &order))
	if len(order.Via) != 1 || order.Via[0].URL != "https://hub.example.com:8443" || order.Via[0].User != "rack" || order.Via[0].CA != "the hub's\n" {
		t.Fatalf("the way is %+v", order.Via)
	}
	verifier, err := creds.ParseVerifier(public)
	w.must(err)
	pass, err := verifier.Verify(machine.NewSecret(order.Via[0].Password), time.Now())
	if err != nil || pass.Network != "rack" || time.Until(pass.Expires) > passLife {
		t.Errorf("the pass is %+v, %v", pass, err)
	}
}

// The hosts of a pool are looked at with the pool's login.
func TestAPoolOfHosts(t *testing.T) {
	w := newWorld(t)
	s := sshd.Start(t, sshd.Options{})
	w.must(w.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: "login"}, StringData: map[string]string{corev1.SSHAuthPrivateKey: s.Clients[0].PEM},
	}))
	none := int32(0)
	pool := &v1alpha1.MachinePool{ObjectMeta: metav1.ObjectMeta{Name: w.name + "-hosts"}, Spec: v1alpha1.MachinePoolSpec{
		OS: "linux", Arch: "amd64", Warm: &none, Max: 1, Login: &v1alpha1.LoginSpec{User: s.User, SecretName: "login"},
		Trust:    v1alpha1.TrustShared,
		Provider: v1alpha1.ProviderSpec{SSH: &v1alpha1.SSHProvider{Hosts: []v1alpha1.SSHHost{{Address: "127.0.0.1", Port: int32(s.Port), Slots: 2, HostKeys: []string{s.HostKeys[0].Line()}}}}},
	}}
	w.must(w.Create(t.Context(), pool))
	out, err := w.call(t.Context(), "--pool", pool.Name)
	w.must(err)
	w.holds(out, "host 127.0.0.1", "127.0.0.1:"+strconv.Itoa(s.Port)+": connected", "ok       host-key ", "ok       login                     user "+s.User, "0 of 2 taken", "ok       clock ")

	// The first contact has pinned the key: it is in the status of the pool's machines.
	pool.Spec.Provider.SSH.Hosts[0].HostKeys = nil
	w.must(w.Update(t.Context(), pool))
	out, err = w.call(t.Context(), "--pool", pool.Name)
	w.must(err)
	w.holds(out, "warning  host-key ", "skipped  login ")
	m := &v1alpha1.Machine{ObjectMeta: metav1.ObjectMeta{Name: pool.Name + "-m", Labels: map[string]string{v1alpha1.LabelPool: pool.Name}}, Spec: v1alpha1.MachineSpec{Pool: pool.Name}}
	w.must(w.Create(t.Context(), m))
	m.Status = v1alpha1.MachineStatus{Phase: v1alpha1.MachineIdle, Address: "127.0.0.1", Port: int32(s.Port), HostKeys: []string{s.HostKeys[0].Line()}}
	w.must(w.Status().Update(t.Context(), m))
	out, err = w.call(t.Context(), "--pool", pool.Name)
	w.must(err)
	w.holds(out, "ok       host-key ", "ok       login ")
}
