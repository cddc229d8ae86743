//go:build linux

package pools_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/manager"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/test/cloud"
	"outrigger.dev/outrigger/test/controller"
)

// lifeWrites are the writes of a pool's whole life with one machine that serves one claim and is clean again, each of
// which is needed once. Who makes one more has to say here what for.
var lifeWrites = []string{
	"PUT machinepools",         // the finalizer
	"POST machines",            // the order
	"PUT machines/status",      // Creating
	"PUT machines/status",      // Booting
	"PUT machines/status",      // Preparing
	"POST secrets",             // how it is reached
	"PUT machines/status",      // Idle
	"PUT machines",             // bound
	"PUT machineclaims/status", // Bound
	"PUT machines/status",      // Leased
	"PUT machines/status",      // Releasing
	"PUT secrets",              // another key
	"PUT machines",             // free
	"PUT machines/status",      // Idle
	"PUT machines/status",      // Deleting
	"DELETE secrets",
	"DELETE machines",
	"PUT machines",     // the finalizer goes
	"PUT machinepools", // the same
}

// The controller dies at each of its writes, once before and once after the API server has carried it out. The next one
// goes on: the claim is served by the one machine that there ever is, and nothing is left. All writes are counted: a
// controller that writes what is written already, or writes again and again, fails.
func TestKilledAnywhere(t *testing.T) {
	want := slices.Sorted(slices.Values(lifeWrites))
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			k := &controller.Killer{At: at, After: after, Names: write}
			t.Run(fmt.Sprintf("write %d, after it %t", at, after), func(t *testing.T) { oneLife(t, k) })
			got := slices.Sorted(slices.Values(k.Done()))
			switch {
			case !k.Dead() && !slices.Equal(got, want):
				t.Errorf("%d writes:\n%s\nwant %d:\n%s", len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
			case len(got) < len(want) || len(got) > len(want)+1: // what may have been done is done again
				t.Errorf("%d writes with a kill at %d, after it %t; want %d or one more:\n%s",
					len(got), at, after, len(want), strings.Join(k.Done(), "\n"))
			case at > 2*len(want):
				t.Errorf("%d writes are tried for %d", at, len(want))
			}
			if t.Failed() {
				return
			}
			if !k.Dead() {
				t.Logf("killed at each of %d writes that are tried", at-1)
				break
			}
		}
	}
}

// oneLife is the whole life of a pool, with a controller that k kills, and then another.
func oneLife(t *testing.T, k *controller.Killer) {
	w := newWorld(t)
	start := func() (stop func()) {
		return controller.Start(t, k.Config(server.Config()), manager.Options{
			Namespace: w.pool, Places: cloud.Places{Cloud: w.cloud}, Readier: w.ready,
			// What depends on the clock is left out: checks, surveys, and what people read.
			Times: pools.Times{Backoff: 50 * time.Millisecond, Check: time.Hour, Survey: time.Hour, Herald: time.Hour},
		})
	}
	stop := start()
	defer func() { stop() }()
	eventually := func(what string, fact func() bool) {
		t.Helper()
		w.eventually(what, func() bool {
			if k.Died() {
				stop()
				k.Revive()
				stop = start()
			}
			return fact()
		})
	}
	w.makePool(1, 1, func(s *v1alpha1.MachinePoolSpec) { s.Reuse = &v1alpha1.ReuseSpec{Policy: v1alpha1.ReuseClean} })
	eventually("a machine is idle", func() bool { return w.inPhase(v1alpha1.MachineIdle) == 1 })
	machine := w.machines()[0].Name
	c := w.claim("c", nil)
	eventually("the claim is bound", func() bool { return w.boundTo(c) == machine && w.inPhase(v1alpha1.MachineLeased) == 1 })
	w.end(c)
	eventually("the machine is clean again", func() bool {
		all := w.machines()
		return w.inPhase(v1alpha1.MachineIdle) == 1 && all[0].Name == machine && all[0].Status.Uses == 1
	})
	p := w.poolNow()
	w.must(w.Delete(t.Context(), p))
	eventually("the pool is gone", func() bool {
		return apierrors.IsNotFound(w.Get(t.Context(), client.ObjectKey{Name: w.pool}, &v1alpha1.MachinePool{}))
	})
	if names, left := w.cloud.Names(), w.machines(); len(names)+len(left) > 0 {
		t.Errorf("left: %v at the provider, %d objects", names, len(left))
	}
	eventually("it was killed by its last write at the latest", func() bool { return !k.Died() })
}

// write names a write, "" for what is none of the pools': METHOD RESOURCE[/status].
func write(req *http.Request) string {
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	for i, part := range parts {
		switch part {
		case "machinepools", "machines", "machineclaims", "secrets":
			if len(parts) > i+2 {
				part += "/" + parts[i+2]
			}
			return req.Method + " " + part
		}
	}
	return ""
}
