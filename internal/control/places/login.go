package places

import (
	"golang.org/x/crypto/ssh"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A login is how to log in to machines that were just made.
type login struct {
	user     string
	password machine.Secret
	keys     []machine.Secret
}

func (l login) empty() bool { return l.password.Empty() && len(l.keys) == 0 }

const passwordKey = "password"

// loginOf reads the Secret of a pool's login.
func loginOf(p *v1alpha1.MachinePool, s *corev1.Secret) (login, error) {
	if p.Spec.Login == nil {
		return login{}, nil
	}
	l := login{user: p.Spec.Login.User}
	if s == nil {
		return l, nil
	}
	wrong := func(format string, args ...any) error {
		return fault.New(fault.Config, "Secret "+s.Namespace+"/"+s.Name+": "+format, args...).
			WithRemedy("Give it the key %s or %s.", passwordKey, corev1.SSHAuthPrivateKey)
	}
	if key := s.Data[corev1.SSHAuthPrivateKey]; len(key) > 0 {
		if _, err := ssh.ParsePrivateKey(key); err != nil {
			return login{}, wrong("%s: %w", corev1.SSHAuthPrivateKey, err)
		}
		l.keys = []machine.Secret{machine.NewSecret(string(key))}
	}
	if password := s.Data[passwordKey]; len(password) > 0 {
		l.password = machine.NewSecret(string(password))
	}
	if l.empty() {
		return login{}, wrong("has neither %s nor %s", passwordKey, corev1.SSHAuthPrivateKey)
	}
	return l, nil
}
