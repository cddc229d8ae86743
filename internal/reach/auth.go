package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"outrigger.dev/outrigger/internal/machine"
)

// ways are the ways to log in that an endpoint allows, and what became of them.
type ways struct {
	auth   machine.Auth
	keys   []namedKey
	socket string
	agent  agent.Agent
	conn   io.Closer // to the SSH agent, open until the login is over
	notes  []string  // what was tried, for the message
	said   string    // the server's banner
}

func newWays(ctx context.Context, auth machine.Auth, socket string) (*ways, error) {
	w := &ways{auth: auth, socket: socket}
	keys, err := loadKeys(ctx, auth, w)
	if err != nil {
		w.close()
		return nil, err
	}
	w.keys = keys
	return w, nil
}

// methods lists them in the order of [machine.Auth].
func (w *ways) methods(ctx context.Context) []ssh.AuthMethod {
	var ms []ssh.AuthMethod
	if len(w.keys) > 0 || w.auth.Agent {
		// One method with all keys: the package tries each method once.
		ms = append(ms, ssh.PublicKeysCallback(func() ([]ssh.Signer, error) { return w.signers(ctx) }))
	}
	if !w.auth.Password.Empty() {
		ms = append(ms,
			ssh.PasswordCallback(func() (string, error) {
				w.notes = append(w.notes, "the password")
				return w.auth.Password.Reveal(), nil
			}),
			// PAM servers often know the password only under this name.
			ssh.KeyboardInteractive(w.answer))
	}
	return ms
}

func (w *ways) signers(ctx context.Context) ([]ssh.Signer, error) {
	var signers []ssh.Signer
	for _, k := range w.keys {
		w.notes = append(w.notes, k.name)
		signers = append(signers, k.signer)
	}
	if !w.auth.Agent {
		return signers, nil
	}
	fromAgent, err := w.agentSigners(ctx)
	if err != nil {
		w.notes = append(w.notes, fmt.Sprintf("the SSH agent (%v)", err))
		return signers, nil // the other ways may do
	}
	w.notes = append(w.notes, fmt.Sprintf("the SSH agent (%d keys)", len(fromAgent)))
	return append(signers, fromAgent...), nil
}

// agentSigners asks the SSH agent which keys it holds. They sign through the
// connection, which stays open.
func (w *ways) agentSigners(ctx context.Context) ([]ssh.Signer, error) {
	if w.agent == nil {
		conn, err := dialAgent(ctx, w.socket)
		if err != nil {
			return nil, err
		}
		w.conn, w.agent = conn, agent.NewClient(conn)
	}
	return w.agent.Signers()
}

// answer answers a question that does not echo, if there is one only: that is
// the password. Anything else needs a person.
func (w *ways) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	switch {
	case len(questions) == 0:
		return nil, nil
	case len(questions) > 1 || echos[0]:
		return nil, errors.New("the machine asks for more than a password")
	}
	w.notes = append(w.notes, "the password, as an answer to a question")
	return []string{w.auth.Password.Reveal()}, nil
}

// maxBanner bounds what is kept of the greeting that a server may show before the login.
const maxBanner = 4 << 10

func (w *ways) banner(text string) error {
	w.said = strings.ToValidUTF8(text[:min(len(text), maxBanner)], "?")
	return nil
}

// tried says what was tried, for a message.
func (w *ways) tried() string {
	if len(w.notes) == 0 {
		if len(w.keys) == 0 && !w.auth.Agent && w.auth.Password.Empty() {
			return "nothing, because no key, agent or password is configured"
		}
		return "nothing, because the machine accepts none of the configured ways (keys, agent, password)"
	}
	return strings.Join(w.notes, ", ")
}

func (w *ways) close() {
	if w.conn != nil {
		w.conn.Close()
	}
}
