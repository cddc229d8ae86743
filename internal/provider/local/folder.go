//go:build linux || darwin

package local

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/machine"
)

// A folder is all there is of one machine.
type folder struct {
	name machine.Name
	dir  string
	lock *flock.Flock // while entered
}

// A record is machine.json.
type record struct {
	Provider string            `json:"provider"` // configured name
	Owner    machine.Owner     `json:"owner"`
	Created  time.Time         `json:"created"`
	Expires  time.Time         `json:"expires,omitzero"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// A running is run.json.
type running struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Port    int       `json:"port"`
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// lockPoll is how often a lock is tried that somebody else holds: making and
// deleting take tenths of a second.
const lockPoll = 20 * time.Millisecond

// enter locks the folder. Delete renames a folder before it removes it, so a
// lock that was waited for may belong to a folder that is no longer there;
// then everything begins again. It returns false if there is no folder and none is to be made.
func (f *folder) enter(ctx context.Context, create bool) (bool, error) {
	for {
		if create {
			if err := os.MkdirAll(f.dir, 0o700); err != nil {
				return false, err
			}
		}
		lock := flock.New(f.path("lock"))
		ok, err := lock.TryLockContext(ctx, lockPoll)
		if errors.Is(err, fs.ErrNotExist) {
			if create {
				continue // deleted since
			}
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !ok {
			continue // ctx ended in between, and the next try says so
		}
		same, err := holds(lock)
		if err == nil && same {
			f.lock = lock
			return true, nil
		}
		if err := errors.Join(err, lock.Close()); err != nil {
			return false, err
		}
	}
}

// holds tells whether the locked file is still the one under its name.
func holds(lock *flock.Flock) (bool, error) {
	held, err := lock.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(lock.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(held, named), err
}

// leave unlocks the folder. The lock would end with the process anyway.
func (f *folder) leave() { _ = f.lock.Close() }

// begin writes what is known from the start. machine.json comes last: with it
// the folder is complete.
func (f *folder) begin(provider string, spec machine.Spec) (record, error) {
	for _, sub := range []string{"home", "tmp"} {
		if err := os.MkdirAll(f.path(sub), 0o700); err != nil {
			return record{}, err
		}
	}
	for _, key := range []string{"host_key", "client_key"} {
		if err := f.newKey(key); err != nil {
			return record{}, err
		}
	}
	rec := record{Provider: provider, Owner: spec.Owner, Created: time.Now().UTC(), Expires: spec.Expires, Labels: spec.Labels}
	return rec, f.write("machine.json", rec)
}

// newKey writes a key pair, "name" and "name.pub".
func (f *folder) newKey(name string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	pub, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(f.path(name), pem.EncodeToMemory(block), 0o600),
		os.WriteFile(f.path(name+".pub"), ssh.MarshalAuthorizedKey(pub), 0o600))
}

func (f *folder) record() (rec record, err error) {
	return rec, f.read("machine.json", &rec)
}

func (f *folder) running() (run running, err error) {
	return run, f.read("run.json", &run)
}

func (f *folder) read(name string, v any) error {
	b, err := os.ReadFile(f.path(name))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// write replaces a file as a whole.
func (f *folder) write(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(f.dir, "."+name+"-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(b, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.path(name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// alive tells whether the server runs. It holds a lock that ends with it, so
// this needs no process number, which may have been used again.
func (f *folder) alive() bool {
	if _, err := os.Stat(f.path("alive")); err != nil {
		return false // not even started, and looking must not make the file
	}
	lock := flock.New(f.path("alive"))
	free, err := lock.TryLock()
	if err != nil {
		return false
	}
	_ = lock.Close() // of a lock that nobody waits for
	return !free
}
