package orkaapi

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

// How long an outage is ridden out within one call. Orka's API is a single replica
// that restarts during upgrades, which takes it some seconds; so much is borne once
// it has answered. Before that an outage is most likely a wrong address, and is told soon.
const (
	patience      = 20 * time.Second
	firstPatience = 2 * time.Second
	firstPause    = 100 * time.Millisecond
	lastPause     = 3 * time.Second
	oneCall       = 30 * time.Second // one attempt; deploys have limits of their own
)

// Passing tells whether the same request may be answered otherwise in a while: the server
// is away, restarts, or has too much to do.
func Passing(err error) bool {
	if err == nil {
		return false
	}
	switch code := Code(err); {
	case code == http.StatusTooManyRequests, code >= 500 && code != http.StatusNotImplemented:
		return true
	case code > 0:
		return false
	}
	return !errors.Is(err, context.Canceled) && !errors.Is(err, errNotJSON) && !IsTLS(err)
}

// call makes a request that may be repeated, and repeats it while the server is away.
func (d door) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	start := time.Now()
	pause := firstPause
	for {
		limit, cancel := context.WithTimeout(ctx, oneCall)
		err := d.once(limit, method, path, query, in, out)
		cancel()
		if err == nil || !Passing(err) || ctx.Err() != nil {
			return err
		}
		wait := pause/2 + rand.N(pause/2)
		var r *Refusal
		if errors.As(err, &r) && r.After > wait {
			wait = r.After
		}
		left := patience
		if d.who.lastHeard().IsZero() {
			left = firstPatience
		}
		if time.Since(start)+wait > left {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		pause = min(2*pause, lastPause)
	}
}
