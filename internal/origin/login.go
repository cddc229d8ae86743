package origin

import (
	"golang.org/x/crypto/ssh"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A Login is how to log in to machines that were just made.
type Login struct {
	User     string
	Password machine.Secret
	Keys     []machine.Secret
}

// Empty tells whether nothing is there to log in with.
func (l Login) Empty() bool { return l.Password.Empty() && len(l.Keys) == 0 }

const passwordKey = "password"

// LoginOf reads the Secret of a pool's login.
func LoginOf(p *v1alpha1.MachinePool, s *corev1.Secret) (Login, error) {
	if p.Spec.Login == nil {
		return Login{}, nil
	}
	l := Login{User: p.Spec.Login.User}
	if s == nil {
		return l, nil
	}
	wrong := func(format string, args ...any) error {
		return fault.New(fault.Config, "Secret "+s.Namespace+"/"+s.Name+": "+format, args...).
			WithRemedy("Give it the key %s or %s.", passwordKey, corev1.SSHAuthPrivateKey)
	}
	if key := s.Data[corev1.SSHAuthPrivateKey]; len(key) > 0 {
		if _, err := ssh.ParsePrivateKey(key); err != nil {
			return Login{}, wrong("%s: %w", corev1.SSHAuthPrivateKey, err)
		}
		l.Keys = []machine.Secret{machine.NewSecret(string(key))}
	}
	if password := s.Data[passwordKey]; len(password) > 0 {
		l.Password = machine.NewSecret(string(password))
	}
	if l.Empty() {
		return Login{}, wrong("has neither %s nor %s", passwordKey, corev1.SSHAuthPrivateKey)
	}
	return l, nil
}
