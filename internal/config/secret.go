package config

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/config/strict"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/sshhost"
)

// Secrets reads what the configuration only points at.
type Secrets struct {
	Getenv  func(string) string
	Environ []string      // of commands
	Timeout time.Duration // of one command; 0: 30 seconds
	Warn    func(text string)
}

const (
	secretTimeout = 30 * time.Second // somebody may have to touch a key
	maxSecret     = 64 << 10         // far above any password, below any mistake
	killDelay     = time.Second      // from a command's end to its pipes' being closed for it
)

// Resolve returns the configuration of the entry called name as package
// provider/all wants it, with its secrets read.
func (c *Config) Resolve(ctx context.Context, name string, s Secrets) (any, error) {
	_, e, err := c.Provider(name)
	if err != nil {
		return nil, err
	}
	switch {
	case e.Local != nil:
		return *e.Local, nil
	case e.QEMU != nil:
		return *e.QEMU, nil
	case e.Orka != nil:
		return c.resolveOrka(ctx, name, *e.Orka, s)
	}
	ssh := *e.SSH
	ssh.Hosts = append([]sshhost.Host(nil), ssh.Hosts...) // the entry itself never holds a secret
	for i := range ssh.Hosts {
		h := &ssh.Hosts[i]
		h.Jump = append([]sshhost.Login(nil), h.Jump...)
		logins := []*sshhost.Login{&h.Login}
		for j := range h.Jump {
			logins = append(logins, &h.Jump[j])
		}
		for _, l := range logins {
			if l.Password, err = c.password(ctx, *l, s); err != nil {
				return nil, fmt.Errorf("provider %s: host %s: %w", name, l.Address, err)
			}
		}
	}
	return ssh, nil
}

func (c *Config) password(ctx context.Context, l sshhost.Login, s Secrets) (machine.Secret, error) {
	return s.read(ctx, source{"password", l.PasswordFile, l.PasswordEnv, l.PasswordCommand}, c.dir())
}

// A source is where a secret comes from: at most one of its last three fields is set.
type source struct {
	key     string // "password": the keys of the file are passwordFile, passwordEnv, passwordCommand
	file    string
	env     string
	command []string
}

// count is how many ways are named.
func (f source) count() (n int) {
	for _, set := range []bool{f.file != "", f.env != "", len(f.command) > 0} {
		if set {
			n++
		}
	}
	return n
}

// checkSource reports a secret that comes from several places.
func (c *Config) checkSource(path strict.Path, f source) {
	if n := f.count(); n > 1 {
		c.doc.Report(path, "has %d %ss: want at most one of %sFile, %sEnv, %sCommand", n, f.key, f.key, f.key, f.key)
	}
}

// read returns the secret, an empty one if no way is named.
func (s Secrets) read(ctx context.Context, from source, dir string) (machine.Secret, error) {
	switch {
	case from.file != "":
		return s.fromFile(from.key, from.file)
	case from.env != "":
		v := s.Getenv(from.env)
		if v == "" {
			return machine.Secret{}, fault.New(fault.Config, "%sEnv: variable %s is empty or not set", from.key, from.env)
		}
		return machine.NewSecret(v), nil
	case len(from.command) > 0:
		return s.fromCommand(ctx, from.key, from.command, dir)
	}
	return machine.Secret{}, nil
}

func (s Secrets) fromFile(key, name string) (machine.Secret, error) {
	f, err := os.Open(name)
	if err != nil {
		return machine.Secret{}, fault.New(fault.Config, "%sFile: %w", key, err)
	}
	defer f.Close()
	if s.Warn != nil {
		for _, w := range tooOpen(f) {
			s.Warn(w)
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return machine.Secret{}, fault.New(fault.Config, "%sFile: %w", key, err)
	}
	return secretOf(b, key+"File: "+name)
}

// fromCommand runs argv without a shell and without input: nothing here ever
// asks a question.
func (s Secrets) fromCommand(ctx context.Context, key string, argv []string, dir string) (machine.Secret, error) {
	limit := s.Timeout
	if limit == 0 {
		limit = secretTimeout
	}
	bound, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(bound, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, s.Environ, killDelay
	killTree(cmd)
	var out, errOut bounded
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if ctx.Err() != nil {
		return machine.Secret{}, fmt.Errorf("%sCommand: %s: %w", key, argv[0], ctx.Err())
	}
	if bound.Err() != nil {
		return machine.Secret{}, fault.New(fault.Config, "%sCommand: %s: no answer within %s", key, argv[0], limit)
	}
	if err != nil {
		return machine.Secret{}, fault.New(fault.Config, "%sCommand: %s: %w", key, argv[0], err).
			WithDetail(strings.TrimSpace(errOut.buf.String()))
	}
	return secretOf(out.buf.Bytes(), key+"Command: "+argv[0])
}

// secretOf is the first line of b: password stores keep notes below it, and
// every editor ends it with a line break.
func secretOf(b []byte, source string) (machine.Secret, error) {
	if len(b) > maxSecret {
		return machine.Secret{}, fault.New(fault.Config, "%s: gave more than %d bytes", source, maxSecret)
	}
	text, _, _ := strings.Cut(string(b), "\n")
	text = strings.TrimSuffix(text, "\r")
	if text == "" {
		return machine.Secret{}, fault.New(fault.Config, "%s: gave nothing", source)
	}
	return machine.NewSecret(text), nil
}

// bounded keeps the first bytes of a stream, one more than a secret may have,
// and takes the rest without keeping it.
type bounded struct{ buf bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxSecret + 1 - b.buf.Len(); room > 0 {
		b.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
