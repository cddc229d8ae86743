package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/pkg/sftp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/reach"
)

// windows is Windows with its own OpenSSH server. The login shell there is
// cmd.exe or PowerShell, and the client cannot know which; so every command is
// a `cmd /c "…"` that both read in the same way: no inner quotes, and nothing
// that PowerShell would expand.
//
// PowerShell, when it is the login shell, stands between us and the agent.
// That it passes bytes unchanged is not verified.
type windows struct{}

// placed implements system.
func (w windows) placed() system { return w }

// start implements system.
func (windows) start(builds []build, root, nonce, verb string) (string, error) {
	r, err := windowsRoot(root)
	if err != nil {
		return "", err
	}
	absent := fmt.Sprintf("echo %s %s absent - ;Windows %%PROCESSOR_ARCHITECTURE%%;%s", announceWord, nonce, r)
	branch := func(arch string) string {
		for _, b := range builds {
			if b.platform.OS != "windows" || b.platform.Arch != arch {
				continue
			}
			dir := r + `\agents\` + b.digest
			exe := dir + `\` + binary("windows")
			here := fmt.Sprintf("type nul>%s\\used& echo %s %s here - ;Windows %%PROCESSOR_ARCHITECTURE%%;%s", dir, announceWord, nonce, r)
			if verb != "" {
				here += fmt.Sprintf("& %s %s --root %s", exe, verb, r)
			}
			return fmt.Sprintf("if exist %s (%s) else (%s)", exe, here, absent)
		}
		return absent
	}
	return fmt.Sprintf(`cmd /c "if %%PROCESSOR_ARCHITECTURE%%==ARM64 (%s) else (%s)"`, branch("arm64"), branch("amd64")), nil
}

// windowsRoot returns root with backslashes; one that is not absolute is
// relative to the user's home, in which every session begins. Nothing that a
// command line would have to quote is accepted, because the two shells do not
// quote alike.
func windowsRoot(root string) (string, error) {
	if root == "" {
		root = ".outrigger"
	}
	root = strings.ReplaceAll(strings.TrimPrefix(root, "~/"), "/", `\`)
	for _, r := range root {
		if r <= ' ' || strings.ContainsRune("\"'`&|<>^()%!$;,=@{}#*?", r) {
			return "", fault.New(fault.Config, "root folder %q: on Windows it must not hold %q", root, r)
		}
	}
	return root, nil
}

// agentAge is how long an agent that nobody uses stays.
const agentAge = 30 * 24 * time.Hour

// place implements system, through SFTP.
func (windows) place(ctx context.Context, c *reach.Client, b build, a announce) error {
	content, err := b.load()
	if err != nil {
		return err
	}
	s, err := c.Subsystem(ctx, "sftp")
	if err != nil {
		return err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	f, err := sftp.NewClientPipe(s, s)
	if err != nil {
		return fault.New(fault.AgentUnfit, "%s: no file transfer: %w", c.Where(), err).
			WithRemedy("Switch the sftp subsystem on in the machine's sshd_config.")
	}
	defer f.Close()
	if err := upload(f, sftpPath(a.root)+"/agents", b, content); err != nil {
		return fault.New(fault.AgentUnfit, "%s: the agent cannot be put in %s: %w", c.Where(), a.root, err)
	}
	return nil
}

// upload writes content aside and renames it into place.
func upload(f *sftp.Client, agents string, b build, content []byte) error {
	dir := agents + "/" + b.digest
	if err := f.MkdirAll(dir); err != nil {
		return err
	}
	tmp, final := dir+"/new-"+newNonce(), dir+"/"+binary("windows")
	if err := write(f, tmp, content); err != nil {
		return errors.Join(err, ignoreAbsent(f.Remove(tmp)))
	}
	if err := f.Rename(tmp, final); err != nil {
		// Somebody else may have been first, and Windows does not rename onto a file.
		if info, statErr := f.Stat(final); statErr != nil || info.Size() != int64(len(content)) {
			return errors.Join(err, ignoreAbsent(f.Remove(tmp)))
		}
		if err := ignoreAbsent(f.Remove(tmp)); err != nil {
			return err
		}
	}
	return tidy(f, agents, time.Now())
}

func write(f *sftp.Client, name string, content []byte) error {
	w, err := f.Create(name)
	if err != nil {
		return err
	}
	_, err = w.ReadFromWithConcurrency(strings.NewReader(string(content)), 64)
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	info, err := f.Stat(name)
	if err == nil && info.Size() != int64(len(content)) {
		err = fmt.Errorf("%s: %d bytes arrived, want %d", name, info.Size(), len(content))
	}
	return err
}

// tidy removes agents that were not used for long.
func tidy(f *sftp.Client, agents string, now time.Time) error {
	dirs, err := f.ReadDir(agents)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		used, err := f.Stat(agents + "/" + d.Name() + "/used")
		if err != nil || now.Sub(used.ModTime()) < agentAge {
			continue // one that was never used is new
		}
		if err := f.RemoveAll(agents + "/" + d.Name()); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err // a program that still runs cannot be removed: permission denied
		}
	}
	return nil
}

// sftpPath translates a Windows path for the SFTP server, which wants "/C:/x".
func sftpPath(p string) string {
	p = strings.ReplaceAll(p, `\`, "/")
	if len(p) > 1 && p[1] == ':' {
		p = "/" + p
	}
	return p
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
