package look

import (
	"cmp"
	"context"
	"errors"
	"time"

	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
)

// atMachine is what is known of a machine while it is looked at.
type atMachine struct {
	p      Patient
	s      Subject
	ep     machine.Endpoint
	client *reach.Client // logged in
	asked  bool
}

func (m *atMachine) close() {
	if m.client != nil {
		m.client.Close()
	}
}

func (m *atMachine) ways(looks map[string]look) {
	looks["name"] = lookUp
	looks["route"] = route
	looks["ssh-port"] = m.port
	looks["host-key"] = m.hostKey
	looks["login"] = m.login
	for _, name := range []string{"slots", "sudo", "session", "disk", "clock"} {
		looks[name] = m.ask
	}
}

func (m *atMachine) port(ctx context.Context, f *doctor.Facts) {
	if len(m.ep.Jumps) == 0 {
		dial, err := m.p.dialThrough(m.ep.Via)
		if err != nil {
			f.Dial = &doctor.Dial{Limit: dialLimit, Trouble: trouble(err)}
			return
		}
		tcp(ctx, f, dial)
		return
	}
	// Behind a jump host a port is only reached by who has logged in there.
	began := time.Now()
	_, err := reach.Greet(ctx, m.ep, m.p.options())
	f.Dial = &doctor.Dial{Took: time.Since(began), Limit: loginLimit}
	if err != nil {
		f.Dial.Trouble = behind(trouble(err))
	}
}

// hostKey takes the key that the machine shows, and has package reach compare it with those
// that are known, without logging in.
func (m *atMachine) hostKey(ctx context.Context, f *doctor.Facts) {
	k := &doctor.HostKey{}
	f.HostKey = k
	line, err := reach.Greet(ctx, m.ep, m.p.options())
	if err != nil {
		k.Trouble = sshTrouble(err)
		return
	}
	k.Found = fingerprint(line)
	if len(m.ep.HostKeys) == 0 && len(m.ep.KnownHosts) == 0 {
		return // nobody knows it here
	}
	k.Wanted = "known"
	nobody := m.ep
	nobody.Auth = machine.Auth{}
	c, err := reach.Dial(ctx, nobody, m.p.options())
	var wrong *fault.Error
	switch {
	case err == nil: // it lets everybody in
		c.Close()
	case fault.Is(err, fault.AuthRefused): // the key was right
	case fault.Is(err, fault.HostKey) && errors.As(err, &wrong):
		k.Trouble, k.Fix = &doctor.Trouble{Reason: doctor.KeyChanged, Text: wrong.Text}, wrong.Remedy
		if len(m.ep.HostKeys) == 0 {
			k.Trouble.Reason = doctor.KeyUnknown
		}
	default:
		k.Trouble = sshTrouble(err)
	}
}

func fingerprint(line string) string {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return line
	}
	return ssh.FingerprintSHA256(key) + " (" + key.Type() + ")"
}

// sshTrouble is trouble of a connection that came about and then did not speak SSH.
func sshTrouble(err error) *doctor.Trouble {
	t := trouble(err)
	if t.Reason == doctor.Silent {
		t.Reason = doctor.Hung
	}
	return t
}

func (m *atMachine) login(ctx context.Context, f *doctor.Facts) {
	l := &doctor.Login{User: m.ep.User}
	f.Login = l
	if len(m.ep.HostKeys) == 0 && len(m.ep.KnownHosts) == 0 {
		l.Trouble = &doctor.Trouble{Reason: doctor.KeptBack, Text: "its host key is pinned nowhere here, so nothing is sent"}
		return
	}
	if why := cmp.Or(m.p.KeptBack, m.s.KeptBack); why != "" {
		l.Trouble = &doctor.Trouble{Reason: doctor.KeptBack, Text: why}
		return
	}
	began := time.Now()
	c, err := reach.Dial(ctx, m.ep, m.p.options())
	l.Took = time.Since(began)
	switch a := m.ep.Auth; {
	case err == nil:
		m.client = c
	case fault.Is(err, fault.AuthRefused) && len(a.Keys)+len(a.KeyFiles)+len(a.CertFiles) == 0 && !a.Agent && a.Password.Empty():
		l.Trouble = &doctor.Trouble{Reason: doctor.NoLogin, Text: text(err)}
	case fault.Is(err, fault.AuthRefused):
		l.Trouble = &doctor.Trouble{Reason: doctor.LoginRefused, Text: text(err)}
	default:
		l.Trouble = sshTrouble(err)
	}
}
