package ready

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/prepare"
)

// What a pool wants that does not say so; the API server writes the same into a preparation.
const defaultMinFree = 2 << 30

// accountPatience is how long a machine that was just made may refuse its own login: a guess.
const accountPatience = 30 * time.Second

func defaultRootFolders() []string { return []string{"workspace", "tekton"} }

// visit puts what the pool asks for into the words of package prepare.
func (r *Readier) visit(w pools.Work, public string) (prepare.Visit, error) {
	v := r.visitWithout(w)
	v.Want.Key = public
	if p := w.Pool.Spec.Preparation; p != nil && p.BuildKeychain != nil {
		ids, err := identities(w.Identities)
		if err != nil {
			return prepare.Visit{}, err
		}
		v.Want.Keychain = &prepare.Keychain{Password: machine.NewSecret(rand.Text()), Identities: ids}
	}
	return v, nil
}

// visitWithout is visit without a key and without identities.
func (r *Readier) visitWithout(w pools.Work) prepare.Visit {
	p := w.Pool.Spec.Preparation
	if p == nil {
		p = &v1alpha1.PreparationSpec{}
	}
	want := prepare.Want{
		OS: w.Pool.Spec.OS, Machine: w.Machine.Name, Password: w.Machine.Endpoint.Auth.Password,
		PasswordOff: p.DisablePasswordLogin, Linked: p.RootFolders, MinFree: defaultMinFree,
		Skip: steps(p.Skip), Require: steps(p.Require),
	}
	keepApart(&want, w, w.Pool.Spec.Trust == v1alpha1.TrustNone)
	if p.RootFolders == nil {
		want.Linked = defaultRootFolders()
	}
	if p.MinFreeDisk != nil {
		want.MinFree = p.MinFreeDisk.Value()
	}
	v := prepare.Visit{Endpoint: w.Machine.Endpoint, Want: want, Agents: r.agents, Reach: r.reach}
	if !w.Lasting { // a host that goes on has its accounts, and may shut out who is refused often
		v.Patience = accountPatience
	}
	return v
}

// keepApart has claims run as a user of their own, or as the login's. A host that goes on has served claims also
// when the machine is new; but as the login of a pool that keeps them apart nobody's code has run.
func keepApart(want *prepare.Want, w pools.Work, separate bool) {
	want.Separate = w.Lasting && separate
	want.Tenants = w.Lasting && !separate
}

// sharing says what claims on a host have in common.
func sharing(user string) pools.Finding {
	return pools.Finding{
		Type: v1alpha1.MachineSlotUser, Reason: string(v1alpha1.TrustShared),
		Message: "claims run as user " + user + ", side by side and one after another: what one leaves, another may execute",
	}
}

func steps(of []v1alpha1.OptionalStep) []prepare.Condition {
	var all []prepare.Condition
	for _, s := range of {
		all = append(all, prepare.Condition(s))
	}
	return all
}

// identities reads the Secret of a keychain.
func identities(s *corev1.Secret) ([]prepare.Identity, error) {
	if s == nil {
		return nil, fault.New(fault.Internal, "keychain: its Secret was not read")
	}
	const suffix = ".p12"
	var all []prepare.Identity
	for key, content := range s.Data {
		name, ok := strings.CutSuffix(key, suffix)
		if !ok {
			continue
		}
		password, own := s.Data[name+".password"]
		if !own {
			password = s.Data["password"]
		}
		all = append(all, prepare.Identity{Name: key, PKCS12: content, Password: machine.NewSecret(strings.TrimRight(string(password), "\r\n"))})
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Config, "Secret %s/%s: holds no identity", s.Namespace, s.Name).
			WithRemedy("Give it keys that end with .p12, and their passwords as NAME.password or password.")
	}
	slices.SortFunc(all, func(a, b prepare.Identity) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// findings puts a report into the words of package pools.
func findings(r prepare.Report) []pools.Finding {
	var all []pools.Finding
	for _, f := range r.Findings {
		all = append(all, pools.Finding{Type: string(f.Condition), OK: f.OK, Reason: f.Reason, Message: f.Message})
	}
	return all
}
