// Package origin says where a MachinePool's machines come from: it puts what the pool and its
// Secrets say into the words of a provider. It opens nothing and contacts nobody, so
// that the controller and who only wants to look agree on it.
package origin

import (
	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/provider/qemu"
	"outrigger.dev/outrigger/internal/provider/sshhost"
)

// Config puts the pool's provider into the provider's own words: the Config of one of the
// provider packages. access is the Secret of its token, knownHosts a file with the keys of
// hosts that the pool does not list.
func Config(p *v1alpha1.MachinePool, auth Login, access *corev1.Secret, knownHosts string) (any, error) {
	switch from := p.Spec.Provider; {
	case from.Local != nil:
		return local.Config{}, nil
	case from.QEMU != nil:
		return qemu.Config{
			Image: p.Spec.Image, Accel: qemu.Accel(from.QEMU.Accel), Isolated: from.QEMU.Isolated, Listen: from.QEMU.Listen,
			Max: maxMachines,
		}, nil
	case from.SSH != nil:
		return hosts(p, auth, knownHosts)
	case from.Orka != nil:
		return orkaOf(p, auth, access)
	}
	return nil, fault.New(fault.Config, "pool %s: names no provider that is known here", p.Name)
}

// maxMachines leaves the limit to the pool's max: the provider's is the API's own.
const maxMachines = 10000

func hosts(p *v1alpha1.MachinePool, auth Login, knownHosts string) (sshhost.Config, error) {
	if auth.User == "" || auth.Empty() {
		return sshhost.Config{}, fault.New(fault.Config, "pool %s: ssh hosts need login.user and login.secretName", p.Name).
			WithRemedy("Name a Secret in the controller's namespace with the key password or ssh-privatekey.")
	}
	if pr := p.Spec.Preparation; pr != nil && pr.DisablePasswordLogin && len(auth.Keys) == 0 {
		return sshhost.Config{}, fault.New(fault.Config, "pool %s: preparation.disablePasswordLogin would lock the pool out of its hosts: its login is a password", p.Name).
			WithRemedy("Give the Secret of the login the key ssh-privatekey, whose public half is on the hosts.")
	}
	var c sshhost.Config
	for _, h := range p.Spec.Provider.SSH.Hosts {
		host := sshhost.Host{
			Name: h.Address, Slots: int(h.Slots), Root: h.Root, OS: p.Spec.OS, Arch: p.Spec.Arch,
			Login: sshhost.Login{
				Address: h.Address, Port: int(h.Port), User: auth.User, HostKeys: h.HostKeys,
				Password: auth.Password, Keys: auth.Keys,
			},
		}
		if len(h.HostKeys) == 0 {
			host.KnownHosts = []string{knownHosts}
		}
		c.Hosts = append(c.Hosts, host)
	}
	return c, nil
}
