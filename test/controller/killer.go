package controller

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"k8s.io/client-go/rest"
)

// A Killer lets a controller die at one of its writes to the API server, and counts those that are carried out.
type Killer struct {
	At    int  // at which, from 1 on
	After bool // the write is carried out, and the controller never hears of it
	// Names is what a write is called; one that is called nothing does not count, and reads are not asked for.
	Names func(*http.Request) string

	mu      sync.Mutex
	seen    int
	dead    bool // since then nothing of the controller's gets through
	fallen  bool // and what it wrote last is written, or not
	revived bool // there is another
	done    []string
}

var errKilled = errors.New("killed")

// Config is config with the killer between the controller and the API server.
func (k *Killer) Config(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) { return k.carry(rt, req) })
	})
	return config
}

// Dead tells whether it killed.
func (k *Killer) Dead() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

// Died tells whether the controller is dead, its last write is over, and there is no other yet.
func (k *Killer) Died() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fallen && !k.revived
}

// Revive lets everything through again, for the next controller.
func (k *Killer) Revive() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revived = true
}

// Done lists the writes that were carried out, also by the next controller.
func (k *Killer) Done() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.done...)
}

// next tells whether the controller is dead, and whether this write is where it dies.
func (k *Killer) next(what string) (dead, now bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return !k.revived, false
	}
	if what != "" {
		k.seen++
		k.dead = k.seen == k.At
	}
	return false, k.dead
}

func (k *Killer) carry(rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	what := ""
	if req.Method != http.MethodGet {
		what = k.Names(req)
	}
	dead, now := k.next(what)
	if now {
		defer func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.fallen = true
		}()
	}
	if dead || now && !k.After {
		return nil, errKilled
	}
	if what != "" {
		// A write that is under way when another one kills is carried out, and must be counted: the end of the
		// controller cancels its request, but not what the API server has read of it.
		req = req.WithContext(context.WithoutCancel(req.Context()))
	}
	resp, err := rt.RoundTrip(req)
	if err == nil && what != "" && resp.StatusCode < http.StatusMultipleChoices {
		k.mu.Lock()
		k.done = append(k.done, what)
		k.mu.Unlock()
	}
	if !now {
		return resp, err
	}
	if err == nil {
		resp.Body.Close()
	}
	return nil, errKilled
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
