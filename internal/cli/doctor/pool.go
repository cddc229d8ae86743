package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/kube"
	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/origin"
	"outrigger.dev/outrigger/internal/outpost/creds"
	"outrigger.dev/outrigger/internal/provider/sshhost"
	"outrigger.dev/outrigger/internal/reach/via"
)

// ofPool takes the provider of a pool, as its controller does.
func (v *visit) ofPool(ctx context.Context) error {
	p, err := v.kube.Pool(ctx, v.o.Pool)
	if err != nil {
		return err
	}
	v.patient = look.Patient{
		Name: p.Name, Pool: true, Kind: kindOf(p), Image: cmp.Or(v.o.Image, p.Status.Image), Tunnels: v.app.Tunnels(), Log: v.app.Log(), Now: v.app.IO.Now,
	}
	auth, err := v.configOf(ctx, p)
	if err != nil {
		return err
	}
	if err := v.wayTo(ctx, p); err != nil {
		return err
	}
	if v.patient.Kind == doctor.Local || v.patient.Kind == doctor.QEMU {
		v.patient.Config = nil // what makes machines is the controller's computer, not this one
	}
	v.choose = func(ctx context.Context) ([]look.Subject, string) { return v.ofMachines(ctx, auth) }
	return nil
}

func kindOf(p *v1alpha1.MachinePool) doctor.Kind {
	switch from := p.Spec.Provider; {
	case from.Orka != nil:
		return doctor.Orka
	case from.SSH != nil:
		return doctor.SSH
	case from.QEMU != nil:
		return doctor.QEMU
	}
	return doctor.Local
}

// configOf reads the pool's Secrets and puts all into the provider's words.
func (v *visit) configOf(ctx context.Context, p *v1alpha1.MachinePool) (origin.Login, error) {
	var login, access *corev1.Secret
	var err error
	if l := p.Spec.Login; l != nil && l.SecretName != "" {
		if login, err = v.secret(ctx, l.SecretName); err != nil {
			return origin.Login{}, err
		}
	}
	if o := p.Spec.Provider.Orka; o != nil {
		if access, err = v.secret(ctx, o.TokenSecretName); err != nil {
			return origin.Login{}, err
		}
	}
	auth, err := origin.LoginOf(p, login)
	if err != nil {
		return auth, err
	}
	v.patient.Config, err = origin.Config(p, auth, access, "")
	return auth, err
}

func (v *visit) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	data, err := v.kube.Secret(ctx, v.o.Namespace, name)
	if err != nil {
		return nil, rights(err)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v.o.Namespace, Name: name}, Data: data}, nil
}

// rights says of a refusal what a doctor needs, which is more than who only views.
func rights(err error) error {
	if !fault.Is(err, fault.AuthRefused) {
		return err
	}
	return fault.New(fault.AuthRefused, "%w", err).
		WithRemedy("In the controller's namespace a doctor reads Secrets and Deployments, and with --in-cluster makes and deletes Pods and Secrets and reads logs: docs/howto/doctor.md. Another namespace is --namespace.")
}

// wayTo finds the way to the pool's API and machines.
func (v *visit) wayTo(ctx context.Context, p *v1alpha1.MachinePool) error {
	r := p.Spec.Reach
	switch {
	case r == nil:
	case r.Network != "":
		step, err := v.hub(ctx, r.Network)
		if err != nil {
			return err
		}
		v.patient.Via = []machine.Via{step}
		v.notHere = fmt.Sprintf("it is reached through network %s of the hub, which serves the cluster", r.Network)
		if !v.o.InCluster {
			v.notHere += ": --in-cluster looks from there"
		}
	default:
		for _, url := range r.Proxies {
			v.patient.Via = append(v.patient.Via, machine.Via{URL: url})
		}
	}
	return nil
}

// controllers are the Deployment's labels.
const controllers = "app.kubernetes.io/name=outrigger-controller"

// passLife is how long the Pod may use the hub.
const passLife = 10 * time.Minute

// hub makes a pass for a network, as the controller does for machines: its flags say which hub,
// and where the key is mounted.
func (v *visit) hub(ctx context.Context, network string) (machine.Via, error) {
	all, err := v.kube.Deployments(ctx, v.o.Namespace, controllers)
	if err != nil {
		return machine.Via{}, rights(err)
	}
	for _, d := range all {
		url := flag(d, "--hub-url")
		if url == "" {
			continue
		}
		key, err := v.mounted(ctx, d, flag(d, "--hub-pass-key"))
		if err != nil {
			return machine.Via{}, err
		}
		ca, err := v.mounted(ctx, d, flag(d, "--hub-ca-file"))
		if err != nil {
			return machine.Via{}, err
		}
		signer, err := creds.ParseSigner(key)
		if err != nil {
			return machine.Via{}, err
		}
		pass, err := signer.Sign(creds.Pass{Network: network, To: []string{"*:*"}, For: "doctor " + app.By(), Expires: time.Now().Add(passLife)})
		return via.Hub(url, network, pass, string(ca)), err
	}
	return machine.Via{}, fault.New(fault.Config, "pool %s: reach.network is %q, but no controller in namespace %s is told of a hub", v.o.Pool, network, v.o.Namespace).
		WithRemedy("Give the controller --hub-url and --hub-pass-key (docs/howto/reach.md), or say with --namespace where it is.")
}

// flag is the value of a flag of the controller.
func flag(d kube.Deployment, name string) string {
	for _, c := range d.Spec.Template.Spec.Containers {
		for i, arg := range c.Args {
			if value, ok := strings.CutPrefix(arg, name+"="); ok {
				return value
			}
			if arg == name && i+1 < len(c.Args) {
				return c.Args[i+1]
			}
		}
	}
	return ""
}

// mounted reads a file of a Secret that a Deployment mounts.
func (v *visit) mounted(ctx context.Context, d kube.Deployment, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	spec := d.Spec.Template.Spec
	for _, c := range spec.Containers {
		for _, m := range c.VolumeMounts {
			if path.Clean(m.MountPath) != path.Dir(file) {
				continue
			}
			i := slices.IndexFunc(spec.Volumes, func(vol corev1.Volume) bool { return vol.Name == m.Name && vol.Secret != nil })
			if i < 0 {
				continue
			}
			s, err := v.secret(ctx, spec.Volumes[i].Secret.SecretName)
			if err != nil {
				return nil, err
			}
			return s.Data[path.Base(file)], nil
		}
	}
	return nil, fault.New(fault.Config, "Deployment %s/%s: %s is in no Secret that it mounts", d.Namespace, d.Name, file)
}

// ofMachines chooses among the pool's machines: the one that was named, else the idle ones first. Hosts
// that exist already are all looked at.
func (v *visit) ofMachines(ctx context.Context, auth origin.Login) ([]look.Subject, string) {
	all, err := v.kube.Machines(ctx, v.o.Pool)
	if err != nil {
		return nil, err.Error()
	}
	if c, ok := v.patient.Config.(sshhost.Config); ok {
		return v.poolHosts(c, all)
	}
	all = slices.DeleteFunc(all, func(m v1alpha1.Machine) bool {
		return m.Status.Address == "" || v.o.Machine != "" && m.Name != v.o.Machine
	})
	slices.SortStableFunc(all, func(a, b v1alpha1.Machine) int { return use(a) - use(b) })
	switch {
	case len(all) == 0 && v.o.Machine != "":
		return nil, fmt.Sprintf("pool %s has no machine %s with an address", v.o.Pool, v.o.Machine)
	case len(all) == 0:
		return nil, "the pool has no machine with an address now"
	}
	return []look.Subject{v.poolMachine(ctx, all[0], auth)}, ""
}

// use is lower for machines that nobody is held up on.
func use(m v1alpha1.Machine) int {
	switch m.Status.Phase {
	case v1alpha1.MachineIdle:
		return 0
	case v1alpha1.MachinePreparing, v1alpha1.MachineBooting:
		return 1
	case v1alpha1.MachineLeased:
		return 2
	}
	return 3
}

// poolMachine enters a machine as its next claim would, or as its preparation does.
func (v *visit) poolMachine(ctx context.Context, m v1alpha1.Machine, auth origin.Login) look.Subject {
	s := look.Subject{Title: "machine " + m.Name, Session: m.Status.Session}
	if data, err := v.kube.Secret(ctx, v.o.Namespace, handoff.LoginSecret(m.Name)); err == nil {
		if claim, err := handoff.ParseClaim(data[handoff.SecretKey]); err == nil {
			s.Endpoint = claim.Reach()
			s.Endpoint.Via = v.patient.Via
			return s
		}
	}
	st := m.Status
	s.Endpoint = machine.Endpoint{
		Host: st.Address, Port: int(st.Port), User: st.User, HostKeys: st.HostKeys, Root: st.Root, Via: v.patient.Via,
		Auth: machine.Auth{Keys: auth.Keys, Password: auth.Password},
	}
	if auth.Empty() {
		s.KeptBack = "the Secret of its login cannot be read"
	}
	return s
}

// poolHosts are the hosts that the pool lists, with the keys that the controller has pinned.
func (v *visit) poolHosts(c sshhost.Config, all []v1alpha1.Machine) ([]look.Subject, string) {
	subjects, why := hosts(c, v.patient, v.o.Machine)
	for i := range subjects {
		ep := &subjects[i].Endpoint
		if len(ep.HostKeys) == 0 {
			ep.KnownHosts = nil // the file is the controller's
		}
		for _, m := range all {
			subjects[i].Own = append(subjects[i].Own, m.Name)
			if c := m.Spec.Claim; c != nil {
				subjects[i].Inner = append(subjects[i].Inner, handoff.LeaseName(c.Name, c.UID))
			}
			if same(m.Status.Address, ep.Host) && portOf(int(m.Status.Port)) == portOf(ep.Port) && len(ep.HostKeys) == 0 {
				ep.HostKeys = m.Status.HostKeys
			}
		}
	}
	return subjects, why
}

// same compares addresses, which may be spelled differently.
func same(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX == nil && errY == nil {
		return x == y
	}
	return strings.EqualFold(a, b)
}

func portOf(n int) int {
	if n == 0 {
		return 22
	}
	return n
}
