// Package devorka is a MacStadium Orka 3 cluster for people who have none: both
// doors of its API, its scheduling and its errors, with real machines behind the VMs.
//
// It is built from what is public: MacStadium's documentation, API collection and API
// types, and what published clients send and accept. It shares nothing with
// Outrigger's own client of Orka. Where no source says how a cluster answers, the
// answer stands in [operator.Doubts] and can be changed. docs/design/orka.md says
// what is faithful and what is not.
//
//	door, rest, kube   the doors: REST with tokens, and the Kubernetes API of orka.macstadium.com/v1
//	orkav1             the objects, their limits and defaults
//	store, access      the objects' versions and watches; tokens and roles
//	operator           what a cluster's controllers do: place, boot, save, delete
//	machines           the machines behind the VMs
//	inject             faults on demand
//
// The REST door keeps nothing of its own: it reads and writes the objects that the
// Kubernetes door serves. So either may restart at any moment.
package devorka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"

	"outrigger.dev/outrigger/internal/devorka/access"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/machines"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
	"outrigger.dev/outrigger/internal/devorka/token"
)

// A Server is one cluster.
type Server struct {
	cfg      Config
	dir      string
	temp     bool // dir goes with the server
	lock     *flock.Flock
	store    *store.Store
	signer   *token.Signer
	access   *access.Access
	faults   *inject.Faults
	place    machines.Place
	operator *operator.Operator
	ca       *authority
	network  *operator.Network

	mu     sync.Mutex // held while the doors open or close
	rest   *listener
	kube   *listener
	closed bool
	wg     sync.WaitGroup
}

// Start starts a cluster.
func Start(cfg Config) (s *Server, err error) {
	cfg = cfg.defaults()
	s = &Server{cfg: cfg, faults: inject.New(cfg.Seed)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.openState(); err != nil {
		return s, err
	}
	if s.network, err = s.makeNetwork(); err != nil {
		return s, err
	}
	if err := s.furnish(); err != nil {
		return s, err
	}
	place, err := cfg.Machines(filepath.Join(s.dir, "machines"), cfg.Log)
	if err != nil {
		return s, err
	}
	s.place = place
	times := operator.Documented.Faster(cfg.Speed)
	if cfg.Times != nil {
		times = *cfg.Times
	}
	s.operator, err = operator.New(operator.Config{
		Store: s.store, Place: place, Faults: s.faults, Network: s.network, Times: times, Doubts: cfg.Doubts, Log: cfg.Log,
	})
	if err != nil {
		return s, err
	}
	for _, image := range cfg.Images {
		if err := s.operator.AddImage(image, orkav1.Arm); err != nil {
			return s, err
		}
	}
	if cfg.IntelHosts > 0 {
		if err := s.operator.AddImage("90gbventurassh.img", orkav1.Amd); err != nil {
			return s, err
		}
	}
	return s, s.openDoors()
}

// objectsFile has everything that the doors serve.
const objectsFile = "objects.json"

// openState opens what is kept, or a folder that is not.
func (s *Server) openState() error {
	s.dir = s.cfg.State
	if s.dir == "" {
		s.sweepLeft()
		dir, err := os.MkdirTemp("", tempPrefix)
		if err != nil {
			return err
		}
		s.dir, s.temp = dir, true
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return err
	}
	s.dir = dir
	lock := flock.New(filepath.Join(dir, "lock"))
	ok, err := lock.TryLock()
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%s: another cluster runs on this folder", dir)
	}
	s.lock = lock
	if s.store, err = store.Open(filepath.Join(dir, objectsFile)); err != nil {
		return err
	}
	if s.signer, err = token.Open(filepath.Join(dir, "tokens.pem")); err != nil {
		return err
	}
	s.store.Now = s.cfg.now
	s.access = &access.Access{Store: s.store, Signer: s.signer, Now: s.cfg.now}
	s.ca, err = openAuthority(filepath.Join(dir, "ca.pem"))
	return err
}

// Close ends the cluster: the doors, every machine with all that runs on it, and what
// is not kept.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	rest, kube := s.rest, s.kube
	s.rest, s.kube = nil, nil
	s.mu.Unlock()
	var errs []error
	for _, l := range []*listener{rest, kube} {
		if l != nil {
			l.close()
		}
	}
	s.wg.Wait()
	if s.operator != nil {
		errs = append(errs, s.operator.Close(false), s.forgetVMs())
	}
	if s.store != nil {
		errs = append(errs, s.store.Err())
	}
	if s.temp && s.place != nil {
		ctx, cancel := context.WithTimeout(context.Background(), sweepLimit) // the cluster's life is over
		defer cancel()
		errs = append(errs, removeDisks(ctx, s.place, s.store))
	}
	if s.temp && s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// forgetVMs removes the objects of machines that have ended with us.
func (s *Server) forgetVMs() error {
	for _, k := range []*store.Kind{store.VMs, store.Pods} {
		all, _ := s.store.List(k, "")
		for _, o := range all {
			if _, err := s.store.Delete(k, o.Namespace, o.Name); err != nil {
				return err
			}
			if len(o.Finalizers) == 0 {
				continue
			}
			if _, err := s.store.Update(k, o.Namespace, o.Name, func(o *store.Object) error { o.Finalizers = nil; return nil }); err != nil {
				return err
			}
		}
	}
	return nil
}

// Endpoint is the URL of the REST door.
func (s *Server) Endpoint() string { return "http://" + s.restAddr() }

// KubeEndpoint is the URL of the Kubernetes door.
func (s *Server) KubeEndpoint() string { return "https://" + s.kubeAddr() }

// CA is the certificate that the Kubernetes door's is signed with, as PEM.
func (s *Server) CA() []byte { return s.ca.pem }

// Faults are those that can be made to happen.
func (s *Server) Faults() *inject.Faults { return s.faults }

// Operator carries out what only somebody at the cluster could do.
func (s *Server) Operator() *operator.Operator { return s.operator }

// NodeReady makes a node ready, or not.
func (s *Server) NodeReady(name string, ready bool) error {
	phase := orkav1.NodeNotReady
	if ready {
		phase = orkav1.NodeReady
	}
	_, err := s.store.Update(store.Nodes, orkav1.DefaultNamespace, name, func(o *store.Object) error {
		store.Status[orkav1.NodeStatus](o).Phase = phase
		return nil
	})
	return err
}

// A VM is one that exists, whoever made it.
type VM struct {
	Namespace, Name, Phase, CreatedBy string
	Deleting                          bool
}

// VMs lists all VMs, as somebody at the cluster sees them.
func (s *Server) VMs() []VM {
	all, _ := s.store.List(store.VMs, "")
	vms := make([]VM, 0, len(all))
	for _, o := range all {
		vms = append(vms, VM{
			Namespace: o.Namespace, Name: o.Name, Phase: string(store.Status[orkav1.VMStatus](o).Phase),
			CreatedBy: o.Annotations[orkav1.NoteCreatedBy], Deleting: o.DeletionTimestamp != nil,
		})
	}
	return vms
}

func host(addr string) string {
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return h
}
