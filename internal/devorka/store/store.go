// Package store keeps the objects of a cluster as an API server does: each
// change has a number (resourceVersion), whoever knows one can watch what came
// after it, and all of it is a file that a restart reads back.
//
// Objects that come out of a Store are shared and never changed: a change makes
// a new one.
package store

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// An Object is one object of any kind.
type Object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              any `json:"spec,omitempty"`
	Status            any `json:"status,omitempty"`
}

// Spec returns the spec of o, which is of that type.
func Spec[T any](o *Object) *T { s, _ := o.Spec.(*T); return s }

// Status returns the status of o, which is of that type.
func Status[T any](o *Object) *T { s, _ := o.Status.(*T); return s }

type key struct {
	kind            *Kind
	namespace, name string
}

// historyLimit is how many changes a watch can go back: enough for a client
// that was away for moments, few enough that one which was away for long learns it.
const historyLimit = 5000

// A Store holds objects.
type Store struct {
	// Now is the clock of what is made and deleted; it is set before anything is.
	Now func() time.Time

	path string // "" keeps nothing

	mu       sync.Mutex
	objects  map[key]*Object
	version  uint64
	history  []Event
	oldest   uint64 // changes up to this one are forgotten
	watchers map[*Watch]bool
	broken   error // of the last write
}

// Open returns the store that path holds, an empty one if there is no such file.
func Open(path string) (*Store, error) {
	s := &Store{Now: time.Now, path: path, objects: map[key]*Object{}, watchers: map[*Watch]bool{}}
	if path == "" {
		return s, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// Numbers go on with a gap: a write that was lost with the process is not handed out twice.
	s.version = f.Version + historyLimit
	s.oldest = s.version
	for _, r := range f.Objects {
		k, ok := Lookup(r.Group, r.Plural)
		if !ok {
			return nil, fmt.Errorf("%s: unknown kind %s/%s", path, r.Group, r.Plural)
		}
		o, err := k.Decode(r.Object, false)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		s.objects[key{k, o.Namespace, o.Name}] = o
	}
	return s, nil
}

type file struct {
	Version uint64   `json:"version"`
	Objects []stored `json:"objects"`
}

type stored struct {
	Group  string          `json:"group,omitempty"`
	Plural string          `json:"plural"`
	Object json.RawMessage `json:"object"`
}

// save writes everything; the file is always whole.
func (s *Store) save() {
	if s.path == "" {
		return
	}
	f := file{Version: s.version}
	for k, o := range s.objects {
		b, err := json.Marshal(o)
		if err != nil {
			s.broken = err
			return
		}
		f.Objects = append(f.Objects, stored{k.kind.Group, k.kind.Plural, b})
	}
	b, err := json.Marshal(f)
	if err == nil {
		err = os.WriteFile(s.path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(s.path+".new", s.path)
	}
	s.broken = err
}

// Err tells why the last change was not written to the file.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Version is the number of the last change.
func (s *Store) Version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strconv.FormatUint(s.version, 10)
}

// Get returns an object, or a NotFound error.
func (s *Store) Get(k *Kind, namespace, name string) (*Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.objects[key{k, namespace, name}]; ok {
		return o, nil
	}
	return nil, apierrors.NewNotFound(k.Resource(), name)
}

// List returns the objects of a namespace, of all for "", by namespace and name,
// and the number of the last change.
func (s *Store) List(k *Kind, namespace string) ([]*Object, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list(k, namespace), strconv.FormatUint(s.version, 10)
}

func (s *Store) list(k *Kind, namespace string) []*Object {
	var all []*Object
	for kk, o := range s.objects {
		if kk.kind == k && (namespace == "" || kk.namespace == namespace) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *Object) int {
		if a.Namespace != b.Namespace {
			return compare(a.Namespace, b.Namespace)
		}
		return compare(a.Name, b.Name)
	})
	return all
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Create stores a new object. It fills in what an API server does, a name for
// one that has only a generateName among it.
func (s *Store) Create(k *Kind, o *Object) (*Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := *o
	n.Kind, n.APIVersion = k.Kind, k.APIVersion()
	if n.Name == "" {
		n.Name = n.GenerateName + Suffix()
	}
	kk := key{k, n.Namespace, n.Name}
	if _, ok := s.objects[kk]; ok {
		return nil, apierrors.NewAlreadyExists(k.Resource(), n.Name)
	}
	n.UID = newUID()
	n.CreationTimestamp = metav1.NewTime(s.Now().UTC().Truncate(time.Second))
	n.Generation = 1
	n.DeletionTimestamp, n.DeletionGracePeriodSeconds = nil, nil
	n.ManagedFields = nil
	if k.NewSpec != nil && n.Spec == nil {
		n.Spec = k.NewSpec()
	}
	if k.NewStatus != nil && n.Status == nil {
		n.Status = k.NewStatus()
	}
	s.put(kk, Added, nil, &n)
	return &n, nil
}

// Update changes an object: change gets a copy. An object that is being deleted
// and has no finalizer left is gone afterwards.
func (s *Store) Update(k *Kind, namespace, name string, change func(*Object) error) (*Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kk := key{k, namespace, name}
	old, ok := s.objects[kk]
	if !ok {
		return nil, apierrors.NewNotFound(k.Resource(), name)
	}
	n, err := k.copy(old)
	if err != nil {
		return nil, err
	}
	if err := change(n); err != nil {
		return nil, err
	}
	if n.DeletionTimestamp != nil && len(n.Finalizers) == 0 {
		s.put(kk, Deleted, old, n)
		return n, nil
	}
	same, err := equal(old, n)
	if err != nil {
		return nil, err
	}
	if same {
		return old, nil // no change, no new number
	}
	s.put(kk, Modified, old, n)
	return n, nil
}

// Delete removes an object, or marks it if somebody has a finalizer on it. It
// returns the object as it is then.
func (s *Store) Delete(k *Kind, namespace, name string) (*Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kk := key{k, namespace, name}
	old, ok := s.objects[kk]
	if !ok {
		return nil, apierrors.NewNotFound(k.Resource(), name)
	}
	if old.DeletionTimestamp != nil && len(old.Finalizers) > 0 {
		return old, nil
	}
	n := *old
	now, grace := metav1.NewTime(s.Now().UTC().Truncate(time.Second)), int64(0)
	n.DeletionTimestamp, n.DeletionGracePeriodSeconds = &now, &grace
	event := Deleted
	if len(n.Finalizers) > 0 {
		event = Modified
	}
	s.put(kk, event, old, &n)
	return &n, nil
}

// put stores n and tells the watchers. mu is held.
func (s *Store) put(kk key, what EventType, old, n *Object) {
	s.version++
	n.ResourceVersion = strconv.FormatUint(s.version, 10)
	if what == Deleted {
		delete(s.objects, kk)
	} else {
		s.objects[kk] = n
	}
	e := Event{Type: what, Kind: kk.kind, Object: n, Old: old, version: s.version}
	s.history = append(s.history, e)
	if over := len(s.history) - historyLimit; over > 0 {
		s.oldest = s.history[over-1].version
		s.history = slices.Clone(s.history[over:])
	}
	for w := range maps.Keys(s.watchers) {
		w.offer(e)
	}
	s.save()
}

const letters = "bcdfghjklmnpqrstvwxz2456789" // those of Kubernetes

// Suffix is the end of a generated name, five characters.
func Suffix() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it crashes the program instead
	for i, c := range b {
		b[i] = letters[int(c)%len(letters)]
	}
	return string(b[:])
}

func newUID() types.UID {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return types.UID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}
