package loginenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxAge is how long a login's environment is used without asking again, though none of the files has
// changed that are known to make it: a profile reads others. A login shell takes 5 ms to 1 s.
const maxAge = 30 * time.Second

// A Cache asks the login shell again when what it says may have changed, as a new login would.
type Cache struct {
	// Ask asks the login shell, see Read.
	Ask func(ctx context.Context) (Login, string)
	// Now is the clock.
	Now func() time.Time

	mu      sync.Mutex
	asked   time.Time
	stamp   string
	login   Login
	warning string
}

// Get returns the login as it is now, and a warning for the user, or "".
func (c *Cache) Get(ctx context.Context) (Login, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp := stamps()
	if now := c.Now(); c.asked.IsZero() || stamp != c.stamp || now.Sub(c.asked) > maxAge {
		c.login, c.warning = c.Ask(ctx)
		c.asked, c.stamp = now, stamp
	}
	login := c.login
	login.Env = slices.Clone(login.Env)
	return login, c.warning
}

// startFiles are what shells read at a login, below the user's home, and what the system's profiles are made of.
var (
	startFiles = strings.Fields(`.profile .bash_profile .bash_login .bashrc .zshenv .zprofile .zshrc .zlogin .cshrc .tcshrc
		.login .kshrc .mkshrc .config/fish/config.fish .config/fish/conf.d .config/environment.d .profile.d .bashrc.d .pam_environment`)
	systemFiles = strings.Fields(`/etc/profile /etc/profile.d /etc/environment /etc/bash.bashrc /etc/bashrc /etc/zshenv /etc/zprofile
		/etc/zshrc /etc/zsh /etc/csh.cshrc /etc/csh.login /etc/paths /etc/paths.d /etc/passwd /etc/login.defs /etc/security/limits.conf`)
)

// stamps says when these were last changed, those in a folder too.
func stamps() string {
	var b strings.Builder
	stamp := func(path string) os.FileInfo {
		info, err := os.Stat(path)
		if err == nil {
			fmt.Fprintln(&b, path, info.ModTime().UnixNano(), info.Size())
		}
		return info
	}
	paths := systemFiles
	if home, err := os.UserHomeDir(); err == nil {
		for _, name := range startFiles {
			paths = append(paths[:len(paths):len(paths)], filepath.Join(home, name))
		}
	}
	for _, path := range paths {
		if info := stamp(path); info == nil || !info.IsDir() {
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			continue // who cannot read it has nothing from it
		}
		for _, e := range entries {
			stamp(filepath.Join(path, e.Name()))
		}
	}
	return b.String()
}
