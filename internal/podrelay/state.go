package podrelay

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/forward"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/worksync/transfer"
)

// What the relays of a Pod remember, in a volume that they share and that lives
// as long as the Pod. It is open to all of them, whatever user they run as:
//
//	<state>/views/<view>/lock       held while files of the view are moved
//	                    /moving     there meanwhile: a killed relay leaves temporary files
//	                    /sync/      the baseline
//	<state>/containers/<name>.json  a record: the container's run
//	<state>/said/<what>             lines that the Pod's logs get once

// A stage is how far a container's run is.
type stage string

const (
	started stage = "started" // it was, or is about to be
	ended   stage = "ended"   // with this exit code; its files may not be back
	over    stage = "over"    // and so is the container
)

// A record is what is known of a container's run.
type record struct {
	Run   string    `json:"run"`
	Stage stage     `json:"stage"`
	Lease time.Time `json:"lease"` // when the machine made the lease: a later one knows nothing of the run
	Code  int       `json:"code,omitempty"`
	// Proxy is what the command knows of the proxy to the cluster; nil: there is none.
	Proxy *forward.Proxy `json:"proxy,omitempty"`
	// Forwards are the ports of the machine that lead here while the run lasts.
	Forwards []handoff.Forward `json:"forwards,omitempty"`
}

// state is the folder that the relays share.
type state string

func (s state) record(container string) string {
	return filepath.Join(string(s), "containers", container+".json")
}

// load returns the record of a container; its zero value if there is none.
func (s state) load(container string) (record, error) {
	var r record
	b, err := os.ReadFile(s.record(container))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, fault.New(fault.LocalFile, "state of container %s: %w", container, err)
	}
	return r, nil
}

// save writes a record so that it is there whole or not at all.
func (s state) save(container string, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fault.New(fault.Internal, "state: %w", err)
	}
	name := s.record(container)
	err = openDir(filepath.Dir(name))
	if err == nil {
		err = os.WriteFile(name+".new", b, 0o644)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return fault.New(fault.LocalFile, "state of container %s: %w", container, err)
	}
	return nil
}

// others returns the records of the Pod's other containers.
func (s state) others(container string) (map[string]record, error) {
	names, err := filepath.Glob(s.record("*"))
	if err != nil {
		return nil, fault.New(fault.Internal, "state: %w", err)
	}
	all := map[string]record{}
	for _, name := range names {
		other := filepath.Base(name[:len(name)-len(".json")])
		if other == container {
			continue
		}
		if all[other], err = s.load(other); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// first tells whether this is the first time that the Pod's relays ask about what.
func (s state) first(what string) bool {
	dir := filepath.Join(string(s), "said")
	if openDir(dir) != nil {
		return true // better twice than never
	}
	f, err := os.OpenFile(filepath.Join(dir, what), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return !errors.Is(err, fs.ErrExist)
	}
	return f.Close() == nil
}

// openDir makes a folder that all relays of the Pod may write to.
func openDir(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return open(dir, 0o777)
}

// open gives all relays of the Pod access to what this one made.
func open(name string, mode fs.FileMode) error {
	err := os.Chmod(name, mode)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil // another one made it, and opened it; or it was not made
	}
	return err
}

// A viewState is what is remembered of one view.
type viewState struct {
	dir  string
	tag  string
	dirs []string // the view's mounts here
	wait func()   // called when somebody else has the view for long
}

func (s state) view(id string) string { return filepath.Join(string(s), "views", id) }

func (v viewState) sync() string { return filepath.Join(v.dir, "sync") }

// longWait is after how long a relay says that it waits for another one.
const longWait = 15 * time.Second

// hold takes the view: relays of one Pod move its files one at a time. What a
// killed one left half written goes first.
func (v viewState) hold(ctx context.Context) (release func(), err error) {
	for _, dir := range []string{filepath.Dir(v.dir), v.dir, v.sync()} {
		if err := openDir(dir); err != nil {
			return nil, fault.New(fault.LocalFile, "state of a view: %w", err)
		}
	}
	lock := flock.New(filepath.Join(v.dir, "lock"), flock.SetPermissions(0o666))
	slow := time.AfterFunc(longWait, v.wait)
	defer slow.Stop()
	if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.New(fault.LocalFile, "state of a view: %w", err)
	}
	moving := filepath.Join(v.dir, "moving")
	if err := v.begin(ctx, moving); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return func() {
		// Whatever of this fails only costs the next relay some work.
		for _, name := range []string{"baseline", "baseline.previous"} {
			_ = open(filepath.Join(v.sync(), name), 0o666)
		}
		_ = open(lock.Path(), 0o666)
		_ = os.Remove(moving)
		_ = lock.Unlock()
	}, nil
}

func (v viewState) begin(ctx context.Context, moving string) error {
	_, err := os.Lstat(moving)
	switch {
	case err == nil:
		for _, dir := range v.dirs {
			if _, err := transfer.CleanTemp(ctx, dir, v.tag); err != nil {
				return err
			}
		}
	case errors.Is(err, fs.ErrNotExist):
		err = os.WriteFile(moving, nil, 0o666)
	}
	if err != nil {
		return fault.New(fault.LocalFile, "state of a view: %w", err)
	}
	return nil
}
