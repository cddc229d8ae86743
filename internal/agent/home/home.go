// Package home records what a clean home is like, in the places from which programs are started or
// commands are taken later on, and puts it back after a tenant: shell start files, SSH's and git's settings,
// launch agents, systemd's user units, crontab, at jobs. It does not look after anything else in the home.
//
// The record is made before the first tenant has a key, and is the agent's; who asks for it to be put back
// gives the digest that he got when it was made, since the tenant is the same user and may have changed it.
package home

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/agent/disk"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/rawpath"
)

// places are files and folders below the home, as patterns of package path. A folder is recorded with all that is in it.
var places = strings.Fields(`
	.profile .bash_profile .bash_login .bash_logout .bashrc .bash_aliases .bashrc.d .profile.d .bash_completion .dircolors .lessfilter
	.zshenv .zprofile .zshrc .zlogin .zlogout .oh-my-zsh/custom .cshrc .tcshrc .login .logout .kshrc .mkshrc .inputrc
	bin .local/bin .local/share/bash-completion .local/share/dbus-1 .local/share/systemd
	.config/fish .config/environment.d .config/systemd .config/autostart .config/git .config/user-tmpfiles.d .config/powershell
	.pam_environment .xprofile .xsession .xsessionrc .xinitrc .forward .procmailrc .mailcap .rhosts .shosts
	.ssh .netrc .gitconfig .git-credentials .git-templates .hgrc .subversion/config .curlrc .wgetrc .npmrc .yarnrc .yarnrc.yml .bunfig.toml
	.pypirc .pip .config/pip .config/uv .condarc .gemrc .bundle/config .config/go .config/containers .config/nix .config/gh
	.cargo/bin .cargo/config.toml .cargo/env .cargo/credentials.toml .mavenrc .m2/settings.xml .sbt
	.gradle/init.gradle .gradle/init.d .gradle/gradle.properties .Rprofile .Renviron .irbrc .pryrc .perldb
	.local/lib/python*/site-packages/*.pth .local/lib/python*/site-packages/usercustomize.py .local/lib/python*/site-packages/sitecustomize.py
	.docker/config.json .aws .kube/config .vimrc .vim/vimrc .config/nvim .emacs .emacs.d/init.el .gdbinit .lldbinit .tmux.conf .screenrc
	.gnupg/gpg.conf .gnupg/gpg-agent.conf .MacOSX
	Library/LaunchAgents Library/LaunchDaemons Library/Scripts Library/Services Library/Workflows
	Library/Python/*/lib/python/site-packages/*.pth Library/Python/*/lib/python/site-packages/usercustomize.py
	Library/Preferences/com.apple.loginitems.plist Library/Preferences/com.apple.loginwindow.plist
	Library/Preferences/com.apple.security.plist Library/Application?Support/com.apple.backgroundtaskmanagementagent`)

// keysFile is the list of keys that may log in. What the controller put there for the next lease stays.
const keysFile = ".ssh/authorized_keys"

// ours is in the comment of such a line, see package prepare.
const ours = " outrigger:"

const (
	maxData    = 256 << 10 // of a file's content that is kept
	maxKept    = 32 << 20  // of all files
	maxRead    = 256 << 20 // of a file's content that is looked at: a tenant's may have no end
	maxEntries = 100000
	maxRecord  = 64 << 20
)

// An entry is one file, link or folder of the record.
type entry struct {
	Mode fs.FileMode  `json:"mode"` // type and permissions
	Data []byte       `json:"data,omitempty"`
	Link rawpath.Path `json:"link,omitempty"`
	// Sum is the SHA-256 of a file that is too large to be kept, or unreadable.
	Sum []byte `json:"sum,omitempty"`
}

func (e *entry) same(o entry) bool {
	if e.Mode != o.Mode || e.Link != o.Link {
		return false
	}
	if e.Sum == nil && o.Sum == nil {
		return bytes.Equal(e.Data, o.Data)
	}
	return bytes.Equal(e.sum(), o.sum())
}

func (e *entry) sum() []byte {
	if e.Sum != nil {
		return e.Sum
	}
	sum := sha256.Sum256(e.Data)
	return sum[:]
}

// A file is an entry with its path below the home, with slashes.
type file struct {
	Path rawpath.Path `json:"path"`
	entry
}

// A record is what is kept.
type record struct {
	Files []file         `json:"files"`
	Cron  []byte         `json:"cron,omitempty"`
	Jobs  []string       `json:"jobs,omitempty"`  // of at
	Temp  []rawpath.Path `json:"temp,omitempty"`  // what of this user is in the folders for temporary files
	Tasks []string       `json:"tasks,omitempty"` // processes, by number and start
	IPC   []string       `json:"ipc,omitempty"`   // of System V
}

// A Home is that of the agent's user.
type Home struct {
	Dir  string // the home folder
	File string // where the record is kept
	// Sole: nothing but what we run here is this user's, as on a machine that was made for us.
	Sole bool
}

// Record writes down what the home is like, and returns the digest of that.
func (h Home) Record(ctx context.Context) ([]byte, error) {
	files, err := h.scan(false)
	if err != nil {
		return nil, err
	}
	rec := record{Cron: crontab(ctx), Jobs: atJobs(ctx)}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		rec.Files = append(rec.Files, file{rawpath.Path(name), files[name]})
	}
	if h.Sole {
		rec.Tasks, rec.IPC = tasks(), segments()
		for _, name := range h.temporary() {
			rec.Temp = append(rec.Temp, rawpath.Path(name))
		}
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return nil, fault.New(fault.Internal, "home: %w", err)
	}
	if len(b) > maxRecord {
		return nil, fault.New(fault.RemoteFile, "home: a record of %d bytes, want at most %d", len(b), maxRecord)
	}
	aside := h.File + ".new"
	if err = os.WriteFile(aside, b, 0o600); err == nil {
		err = os.Rename(aside, h.File)
	}
	sum := sha256.Sum256(b)
	return sum[:], disk.Fault("record of the home", err)
}

// scan reads all places. With open it gives itself what it must have to look into a folder, which is told as it was.
func (h Home) scan(open bool) (map[string]entry, error) {
	s := scanner{Home: h, open: open, found: map[string]entry{}}
	for _, place := range places {
		if err := s.match("", strings.Split(place, "/")); err != nil {
			return nil, err
		}
	}
	return s.found, nil
}

type scanner struct {
	Home
	open  bool
	found map[string]entry
	kept  int // bytes of content
}

// match reads what the rest of a pattern stands for in a folder, and the folders on the way there.
func (h *scanner) match(in string, rest []string) error {
	names := rest[:1]
	if strings.ContainsAny(rest[0], "*?") {
		entries, err := os.ReadDir(filepath.Join(h.Dir, filepath.FromSlash(in)))
		if err != nil && !absent(err) && !errors.Is(err, fs.ErrPermission) {
			return disk.Fault("home", err)
		}
		names = nil
		for _, e := range entries {
			if ok, err := path.Match(rest[0], e.Name()); err == nil && ok {
				names = append(names, e.Name())
			}
		}
	}
	for _, name := range names {
		err := h.add(path.Join(in, name), len(rest) == 1)
		if err == nil && len(rest) > 1 {
			err = h.match(path.Join(in, name), rest[1:])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add reads what is at name, and with deep what is in it.
func (h *scanner) add(name string, deep bool) error {
	if _, seen := h.found[name]; seen && !deep {
		return nil // the folder of several places
	}
	full := filepath.Join(h.Dir, filepath.FromSlash(name))
	info, err := os.Lstat(full)
	if absent(err) {
		return nil
	}
	if err != nil {
		return disk.Fault("home", err)
	}
	if len(h.found) >= maxEntries {
		return fault.New(fault.RemoteFile, "home: more than %d entries in the places that are looked after", maxEntries)
	}
	e := entry{Mode: info.Mode()}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		var to string
		to, err = os.Readlink(full)
		e.Link = rawpath.Path(to)
	case info.Mode().IsRegular():
		err = h.read(&e, full)
	case info.IsDir() && h.open && info.Mode()&0o700 != 0o700:
		err = os.Chmod(full, info.Mode().Perm()|0o700)
	}
	if errors.Is(err, fs.ErrPermission) {
		e.Sum, err = unreadable, nil // root's, so no tenant could change it
	}
	if err != nil {
		return disk.Fault("home", err)
	}
	h.found[name] = e
	if !deep || !info.IsDir() {
		return nil
	}
	entries, err := os.ReadDir(full)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return disk.Fault("home", err)
	}
	for _, sub := range entries {
		if err := h.add(name+"/"+sub.Name(), true); err != nil {
			return err
		}
	}
	return nil
}

// unreadable stands for the digest of a file that may not be read.
var unreadable = []byte("unreadable")

// read reads a file's content, or its digest if it is large or much is kept already.
func (h *scanner) read(e *entry, full string) error {
	f, err := os.Open(full)
	if err != nil {
		return err
	}
	defer f.Close()
	data, sum, err := contents(f, min(maxData, maxKept-h.kept))
	e.Data, e.Sum = data, sum
	h.kept += len(data)
	return err
}

// absent tells whether err says that nothing is there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || isNotDir(err) }

// load reads the record, if it is the one of that digest.
func (h Home) load(digest []byte) (record, error) {
	var rec record
	info, err := os.Stat(h.File)
	if err == nil && info.Size() > maxRecord {
		err = fault.New(fault.RemoteFile, "%d bytes, want at most %d", info.Size(), maxRecord)
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(h.File)
	}
	if err != nil {
		return rec, disk.Fault("record of the home", err)
	}
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:], digest) {
		return rec, fault.New(fault.RemoteFile, "record of the home: is not the one that was made when the machine was prepared")
	}
	return rec, disk.Fault("record of the home", json.Unmarshal(b, &rec))
}
