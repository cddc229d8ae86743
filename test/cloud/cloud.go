// Package cloud is a provider for tests whose machines are files: so they outlive
// whoever made them, as a cloud's do, and any number of processes share them. It fails,
// delays and loses answers as often as it is told to.
//
// Who uses a machine says so with [Cloud.Use]; what must never happen, such as a machine
// that two use or that is deleted while it is used, is written down for
// [Cloud.Violations].
package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// A Cloud is a folder of machines.
type Cloud struct {
	Dir    string
	Faults Faults // later changes: SetFaults

	mu sync.Mutex
}

// SetFaults changes the faults while the cloud is used.
func (c *Cloud) SetFaults(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Faults = f
}

func (c *Cloud) faults() Faults {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Faults
}

// Faults say how often, from 0 to 1, and how much.
type Faults struct {
	Fail     float64                  // nothing is done, and an error is returned
	Lose     float64                  // all is done, and an error is returned
	Full     float64                  // of creations: no capacity
	Delay    time.Duration            // of every call, at most
	Max      int                      // machines; 0: no limit
	AtCreate func(machine.Spec) error `json:"-"`
}

// Init makes the folder.
func (c *Cloud) Init() error {
	return errors.Join(os.MkdirAll(filepath.Join(c.Dir, "machines"), 0o755), os.MkdirAll(filepath.Join(c.Dir, "images"), 0o755), os.MkdirAll(filepath.Join(c.Dir, "used"), 0o755),
		os.MkdirAll(filepath.Join(c.Dir, "violations"), 0o755))
}

func (c *Cloud) path(name machine.Name) string { return filepath.Join(c.Dir, "machines", string(name)) }
func (c *Cloud) used(name string) string       { return filepath.Join(c.Dir, "used", name) }

// trip waits, and returns an error if the call is to fail; lost tells whether the
// answer is to be lost after the work was done.
func (c *Cloud) trip(ctx context.Context) (lost bool, err error) {
	f := c.faults()
	if f.Delay > 0 {
		select {
		case <-time.After(rand.N(f.Delay)):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	if rand.Float64() < f.Fail {
		return false, fault.New(fault.ProviderDown, "cloud: 503 Service Unavailable")
	}
	return rand.Float64() < f.Lose, nil
}

var errLost = errors.New("cloud: read: connection reset by peer")

// Create implements provider.Provider.
func (c *Cloud) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	lost, err := c.trip(ctx)
	if err != nil {
		return machine.Machine{}, err
	}
	f := c.faults()
	if f.AtCreate != nil {
		if err := f.AtCreate(spec); err != nil {
			return machine.Machine{}, err
		}
	}
	if m, err := c.get(spec.Name); err == nil {
		if m.Owner != spec.Owner {
			return machine.Machine{}, fault.New(fault.NameTaken, "cloud: %s belongs to %s", spec.Name, m.Owner)
		}
		return m, nil
	}
	if rand.Float64() < f.Full || f.Max > 0 && c.Count() >= f.Max {
		return machine.Machine{}, fault.New(fault.NoCapacity, "cloud: no host has room for %s", spec.Name)
	}
	m := machine.Machine{
		Name: spec.Name, Provider: "cloud", Owner: spec.Owner, State: machine.Running, Image: spec.Image,
		Platform: machine.Platform{OS: "linux", Arch: "amd64"}, Created: time.Now(), Labels: spec.Labels,
		Endpoint: machine.Endpoint{Host: "127.0.0.1", Port: 22, User: "ci", HostKeys: []string{"ssh-ed25519 " + string(spec.Name)}},
	}
	data, err := json.Marshal(m)
	if err != nil {
		return machine.Machine{}, err
	}
	if err := replace(c.path(spec.Name), data); err != nil {
		return machine.Machine{}, err
	}
	if lost {
		return machine.Machine{}, errLost
	}
	return m, nil
}

// replace writes a file so that nobody sees half of it.
func replace(path string, data []byte) error {
	temporary := fmt.Sprintf("%s.%d.%d.tmp", path, os.Getpid(), rand.Int())
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

func (c *Cloud) get(name machine.Name) (machine.Machine, error) {
	data, err := os.ReadFile(c.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return machine.Machine{}, fault.New(fault.UnknownMachine, "cloud: no machine %s", name)
	}
	var m machine.Machine
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	return m, err
}

// Get implements provider.Provider.
func (c *Cloud) Get(ctx context.Context, name machine.Name) (machine.Machine, error) {
	if lost, err := c.trip(ctx); err != nil || lost {
		return machine.Machine{}, errors.Join(err, fault.New(fault.ProviderDown, "cloud: 504 Gateway Timeout"))
	}
	return c.get(name)
}

// List implements provider.Provider.
func (c *Cloud) List(ctx context.Context, owner machine.Owner) ([]machine.Machine, error) {
	if lost, err := c.trip(ctx); err != nil || lost {
		return nil, errors.Join(err, fault.New(fault.ProviderDown, "cloud: 504 Gateway Timeout"))
	}
	var all []machine.Machine
	for _, name := range c.Names() {
		if m, err := c.get(machine.Name(name)); err == nil && (owner == "" || m.Owner == owner) {
			all = append(all, m)
		}
	}
	return all, nil
}

// Delete implements provider.Provider.
func (c *Cloud) Delete(ctx context.Context, name machine.Name) error {
	lost, err := c.trip(ctx)
	if err != nil {
		return err
	}
	if by, err := os.ReadFile(c.used(string(name))); err == nil {
		c.violate("machine %s deleted while %s used it", name, by)
	}
	if err := os.Remove(c.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if lost {
		return errLost
	}
	return nil
}

// Names returns the machines that there are.
func (c *Cloud) Names() []string {
	entries, err := os.ReadDir(filepath.Join(c.Dir, "machines"))
	if err != nil {
		return nil // then there are none
	}
	var all []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".tmp") {
			all = append(all, e.Name())
		}
	}
	return all
}

// Count returns how many machines there are.
func (c *Cloud) Count() int { return len(c.Names()) }

// Lose removes a machine behind everybody's back.
func (c *Cloud) Lose(name string) error { return os.Remove(c.path(machine.Name(name))) }

// Use marks a machine as used by somebody, until the function it returns is called. A machine that
// is used already, or does not exist, is a violation.
func (c *Cloud) Use(name, who string) (end func()) {
	if _, err := c.get(machine.Name(name)); err != nil {
		c.violate("%s got machine %s, which is not there: %v", who, name, err)
	}
	f, err := os.OpenFile(c.used(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		by, _ := os.ReadFile(c.used(name))
		c.violate("%s got machine %s, which %s uses", who, name, by)
		return func() {}
	}
	_, _ = f.WriteString(who) // only to say who
	f.Close()
	return func() { os.Remove(c.used(name)) }
}

func (c *Cloud) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if err := replace(filepath.Join(c.Dir, "violations", fmt.Sprint(time.Now().UnixNano())), []byte(text)); err != nil {
		panic(text) // nobody else would hear of it
	}
}

// Violations returns what must not have happened and did.
func (c *Cloud) Violations() []string {
	entries, err := os.ReadDir(filepath.Join(c.Dir, "violations"))
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(c.Dir, "violations", e.Name()))
		all = append(all, string(text)+errText(err))
	}
	return all
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
