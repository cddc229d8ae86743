package orka

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/rawpath"
)

// A record is what we know of a VM that Orka does not: a file per VM, written before the
// VM is asked for. Everything works without it, as after a loss of the folder: then the host
// key is not pinned here any more, and through the REST door a VM's owner is known only by its mark.
type record struct {
	VM      string            `json:"vm"`
	Name    machine.Name      `json:"name"`
	Owner   machine.Owner     `json:"owner"`
	Image   string            `json:"image,omitempty"`
	Expires time.Time         `json:"expires,omitzero"`
	Labels  map[string]string `json:"labels,omitempty"`
	Asked   time.Time         `json:"asked"`
	// Unsure is until when a VM may yet appear, because a request for it was sent whose
	// fate is not known.
	Unsure time.Time `json:"unsure,omitzero"`
	// Foreign says that the VM of that name is somebody else's: it is never touched.
	Foreign bool `json:"foreign,omitempty"`
	// HostKey was shown at the first contact with the VM that was made at Made.
	HostKey string    `json:"hostKey,omitempty"`
	Made    time.Time `json:"made,omitzero"`
}

const recordSuffix = ".json"

func (p *Provider) recordPath(vm string) string { return filepath.Join(p.dir, vm+recordSuffix) }

// load reads a VM's record; ok is false if there is none.
func (p *Provider) load(vm string) (r record, ok bool, err error) {
	b, err := os.ReadFile(p.recordPath(vm))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return record{}, false, fault.New(fault.LocalFile, "%s: record of %s: %w", p.name, vm, err)
	}
	return r, true, nil
}

// store writes a record so that it outlives a power cut.
func (p *Provider) store(r record) error {
	if err := p.write(r); err != nil {
		return fault.New(fault.LocalFile, "%s: record of %s: %w", p.name, r.VM, err)
	}
	return nil
}

func (p *Provider) write(r record) (err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	tmp := filepath.Join(p.dir, "."+r.VM+"."+hex.EncodeToString(id[:]))
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, p.recordPath(r.VM))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return nil
}

// change rewrites the record of a VM if there is one.
func (p *Provider) change(vm string, f func(*record)) error {
	p.files.Lock()
	defer p.files.Unlock()
	r, ok, err := p.load(vm)
	if err != nil || !ok {
		return err
	}
	f(&r)
	return p.store(r)
}

// forget removes a record.
func (p *Provider) forget(vm string) error {
	files, err := rawpath.Glob(p.dir, postPrefix+vm+".*")
	if err != nil {
		return fault.New(fault.Internal, "%s: record of %s: %w", p.name, vm, err)
	}
	for _, name := range append(files, p.recordPath(vm)) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.LocalFile, "%s: record of %s: %w", p.name, vm, err)
		}
	}
	return nil
}

// Each request for a VM has a file, from before it is sent until it is refused. So a process
// whose request is refused since the name is taken sees whether it was taken by
// another of ours; several may ask at once, and each may be killed.
const postPrefix = ".post-"

// posting notes a request and returns its file.
func (p *Provider) posting(vm string) (string, error) {
	f, err := os.CreateTemp(p.dir, postPrefix+vm+".")
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return "", fault.New(fault.LocalFile, "%s: record of %s: %w", p.name, vm, err)
	}
	return f.Name(), nil
}

// posted tells whether there is a request for the VM that was not refused.
func (p *Provider) posted(vm string) bool {
	files, err := rawpath.Glob(p.dir, postPrefix+vm+".*")
	return err == nil && len(files) > 0
}

// records returns all records. A file that cannot be read as one is passed over: it is
// of no use to anybody.
func (p *Provider) records() (map[string]record, error) {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.LocalFile, "%s: records: %w", p.name, err)
	}
	all := map[string]record{}
	for _, e := range entries {
		vm, ok := strings.CutSuffix(e.Name(), recordSuffix)
		if !ok || strings.HasPrefix(vm, ".") {
			continue
		}
		if r, ok, err := p.load(vm); err == nil && ok {
			all[vm] = r
		}
	}
	return all, nil
}
