package machines

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"outrigger.dev/outrigger/internal/provider/local"
)

// Local makes machines that are folders of this computer. Below its own folder
//
//	machines/NAME   one machine; home in it is HOME
//	disks/DISK      what an image holds: a home
type Local struct {
	dir      string
	password string
	log      *slog.Logger
}

// NewLocal returns the place in dir. Whoever knows the password runs commands as
// the user of this process.
func NewLocal(dir, password string, log *slog.Logger) (*Local, error) {
	if err := local.Supported(); err != nil {
		return nil, err
	}
	l := &Local{dir: dir, password: password, log: log}
	for _, sub := range []string{l.machine(""), l.disk("")} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *Local) machine(name string) string { return filepath.Join(l.dir, "machines", name) }
func (l *Local) disk(d Disk) string         { return filepath.Join(l.dir, "disks", string(d)) }

// Create implements [Place].
func (l *Local) Create(ctx context.Context, spec Spec) (Machine, error) {
	m, err := l.open(spec)
	if err != nil {
		return nil, err
	}
	if spec.Disk != "" {
		if err := copyTree(l.disk(spec.Disk), m.guest.Home()); err != nil {
			return nil, errors.Join(err, m.Delete(context.WithoutCancel(ctx)))
		}
	}
	return m, m.guest.Start()
}

// Attach implements [Place]. What ran on the machine goes on running.
func (l *Local) Attach(_ context.Context, spec Spec) (Machine, error) {
	if _, err := os.Stat(l.machine(spec.Name)); err != nil {
		return nil, err
	}
	m, err := l.open(spec)
	if err != nil {
		return nil, err
	}
	return m, m.guest.Start()
}

func (l *Local) open(spec Spec) (*localMachine, error) {
	g, err := local.OpenGuest(l.machine(spec.Name), local.GuestConfig{User: User, Password: l.password, LoginAfter: spec.LoginAfter, Log: l.log})
	if err != nil {
		return nil, err
	}
	return &localMachine{guest: g, place: l}, nil
}

// Copy implements [Place].
func (l *Local) Copy(_ context.Context, from, to Disk) error {
	if from == "" {
		return os.MkdirAll(l.disk(to), 0o700)
	}
	return l.store(l.disk(from), to)
}

// store makes a disk of a folder. It gets its name when it is complete.
func (l *Local) store(from string, d Disk) error {
	fresh := l.disk(d) + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o700)); err != nil {
		return err
	}
	if err := copyTree(from, fresh); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := l.Remove(context.Background(), d); err != nil {
		return err
	}
	return os.Rename(fresh, l.disk(d))
}

// Remove implements [Place].
func (l *Local) Remove(_ context.Context, d Disk) error {
	if d == "" {
		return nil
	}
	return os.RemoveAll(l.disk(d))
}

// Sweep implements [Place].
func (l *Local) Sweep(ctx context.Context, keep []string) error {
	all, err := os.ReadDir(l.machine(""))
	if err != nil {
		return err
	}
	for _, e := range all {
		if slices.Contains(keep, e.Name()) {
			continue
		}
		m, err := l.open(Spec{Name: e.Name()})
		if err == nil {
			err = m.Delete(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type localMachine struct {
	guest *local.Guest
	place *Local
}

func (m *localMachine) SSH(_ context.Context, c net.Conn)    { m.guest.Serve(c) }
func (m *localMachine) Stop(ctx context.Context) error       { return m.guest.Stop(ctx) }
func (m *localMachine) Start(context.Context) error          { return m.guest.Start() }
func (m *localMachine) Delete(ctx context.Context) error     { return m.guest.Remove(ctx) }
func (m *localMachine) Save(_ context.Context, d Disk) error { return m.place.store(m.guest.Home(), d) }

// Dial connects to this computer: a local machine has no network of its own.
func (m *localMachine) Dial(ctx context.Context, port int) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// copyTree copies what is in from into the folder to: files with their modes and
// times, folders, links. Sockets and pipes are part of no disk.
func copyTree(from, to string) error {
	type stamp struct {
		path string
		info fs.FileInfo
	}
	var folders []stamp // times and modes come last, from the inside out
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case info.IsDir():
			folders = append(folders, stamp{target, info})
			return os.MkdirAll(target, 0o700)
		case info.Mode()&fs.ModeSymlink != 0:
			dest, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(dest, target)
		case info.Mode().IsRegular():
			return copyFile(path, target, info)
		}
		return nil
	})
	for _, s := range slices.Backward(folders) {
		err = errors.Join(err, os.Chmod(s.path, s.info.Mode().Perm()), os.Chtimes(s.path, s.info.ModTime(), s.info.ModTime()))
	}
	return err
}
