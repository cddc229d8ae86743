package origin

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka"
)

// The keys of the Secret of a provider.
const (
	tokenKey = "token"
	caKey    = "ca.crt"
)

// orkaOf puts a pool's Orka into the provider's words. Without a login of the pool's, that of
// MacStadium's images counts.
func orkaOf(p *v1alpha1.MachinePool, auth Login, access *corev1.Secret) (orka.Config, error) {
	if access == nil || len(access.Data[tokenKey]) == 0 {
		return orka.Config{}, fault.New(fault.Config, "pool %s: Secret %s has no key %s", p.Name, p.Spec.Provider.Orka.TokenSecretName, tokenKey).
			WithRemedy("Put a service account's token there: orka3 serviceaccount token NAME.")
	}
	o := p.Spec.Provider.Orka
	return orka.Config{
		Endpoint: o.Endpoint, Namespace: o.Namespace, Door: orka.Door(o.Door),
		Token: machine.NewSecret(trimmed(access.Data[tokenKey])), CA: string(access.Data[caKey]),
		User: auth.User, Password: auth.Password, Keys: auth.Keys,
		Image: p.Spec.Image, VMConfig: o.VMConfig, Arch: p.Spec.Arch, Node: o.Node, Scheduler: o.Scheduler,
		Tag: o.Tag, TagRequired: o.TagRequired, ReservedPorts: o.ReservedPorts,
		NetBoost: o.NetBoost, LegacyIO: o.LegacyIO, GPUPassthrough: o.GPUPassthrough, VNCConsole: o.VNCConsole,
		ISO: o.ISO, SystemSerial: o.SystemSerial,
		DisplayWidth: int(o.DisplayWidth), DisplayHeight: int(o.DisplayHeight), DisplayDPI: int(o.DisplayDPI),
		Metadata: o.Metadata, Labels: o.Labels, Addresses: o.Addresses, Network: orka.Network(o.Network),
		Identity: orka.Identity(o.Identity), FixedHostKey: o.FixedHostKey, Fields: o.Fields,
		DeployTimeout: durationOf(o.DeployTimeout), CapacityWait: durationOf(o.CapacityWait), BootTimeout: durationOf(p.Spec.BootTimeout),
	}, nil
}

func durationOf(d *metav1.Duration) (out time.Duration) {
	if d != nil {
		out = d.Duration
	}
	return out
}

// trimmed is a token without what editors and echo put behind it.
func trimmed(b []byte) string { return strings.TrimSpace(string(b)) }
