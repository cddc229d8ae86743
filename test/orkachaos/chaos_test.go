//go:build linux

// Package orkachaos makes machines at an Orka where everything goes wrong that may, all at
// once, and looks at what is left. Clients behave as the controller and the CLI do: they
// ask again after what may pass, delete after what may not, give up in the middle, are
// killed and come again with nothing but their records, or without even them.
package orkachaos

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/devorka"
	"outrigger.dev/outrigger/internal/devorka/inject"
	"outrigger.dev/outrigger/internal/devorka/operator"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider/orka"
	"outrigger.dev/outrigger/internal/reach"
)

var (
	creations = flag.Int("creations", 500, "how many machines are asked for")
	clients   = flag.Int("clients", 16, "how many ask at a time")
	seed      = flag.Uint64("seed", 1, "of what goes wrong")
)

// everything that goes wrong, and how often.
var everything = []inject.Fault{
	{Kind: inject.Lost, Rate: .04},
	{Kind: inject.Lost, Method: "POST", Rate: .15},
	{Kind: inject.Lost, Method: "DELETE", Rate: .15},
	{Kind: inject.Refuse, Rate: .04},
	{Kind: inject.Slow, Rate: .10, Delay: inject.Duration(300 * time.Millisecond)},
	{Kind: inject.Slow, Method: "POST", Rate: .05, Delay: inject.Duration(2 * time.Second)},
	{Kind: inject.Error, Rate: .04, Status: 500},
	{Kind: inject.Error, Rate: .03, Status: 503},
	{Kind: inject.Error, Method: "POST", Rate: .03, Status: 403, Message: "admission webhook denied the request"},
	{Kind: inject.Cut, Rate: .3, Delay: inject.Duration(50 * time.Millisecond)},
	{Kind: inject.NoCapacity, Rate: .03},
	{Kind: inject.Taken, Rate: .03},
	{Kind: inject.Fails, Rate: .04},
	{Kind: inject.NoAddress, Rate: .02},
	{Kind: inject.Dies, Rate: .04, Delay: inject.Duration(200 * time.Millisecond)},
	{Kind: inject.Vanishes, Rate: .04, Delay: inject.Duration(200 * time.Millisecond)},
	{Kind: inject.Mixed, Rate: .04},
	{Kind: inject.Deaf, Rate: .02},
}

const (
	restartEvery  = 4 * time.Second
	restartTakes  = 400 * time.Millisecond
	strangersStay = 5 * time.Second
	owner         = machine.Owner("chaos")
)

var times = operator.Times{
	Uncached: 300 * time.Millisecond, Cached: 80 * time.Millisecond, SSH: 50 * time.Millisecond, Login: 30 * time.Millisecond,
	Save: 100 * time.Millisecond, Push: 100 * time.Millisecond, End: 50 * time.Millisecond,
}

// A tally counts how things went.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

func (c *tally) lines() (all []string) {
	for what, n := range c.counts {
		all = append(all, fmt.Sprintf("%6d  %s", n, what))
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(a[8:], b[8:]) })
	return all
}

// A world is the cluster and those who use it.
type world struct {
	t      *testing.T
	s      *devorka.Server
	tokens map[orka.Door]machine.Secret
	state  string
	tally  *tally
	vms    sync.Map // names of VMs that were ever seen
	forgot sync.Map // machines that were given back by somebody without any memory
	calls  atomic.Int64

	strangers map[string]time.Time // VMs of theirs, since when
}

func TestNothingIsLeftAndNothingIsMadeTwice(t *testing.T) {
	s, err := devorka.Start(devorka.Config{Hosts: 5, Times: &times, Minute: 3 * time.Second, Seed: *seed, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	token, err := s.Token(devorka.Grant{Role: "orka-dev"})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, s: s, state: t.TempDir(), tally: &tally{counts: map[string]int{}}, tokens: map[orka.Door]machine.Secret{}, strangers: map[string]time.Time{}}
	for _, d := range []orka.Door{orka.DoorAuto, orka.DoorKubernetes, orka.DoorREST} {
		w.tokens[d] = machine.NewSecret(token)
	}
	for _, f := range everything {
		if _, err := s.Faults().Add(f); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	var around, users sync.WaitGroup
	around.Go(func() { w.restarts(ctx) })
	around.Go(func() { w.watch(ctx) })
	next := make(chan int)
	for c := range *clients {
		users.Go(func() {
			random := rand.New(rand.NewPCG(*seed, uint64(c)))
			for n := range next {
				w.use(ctx, n, random)
			}
		})
	}
	for n := range *creations {
		next <- n
	}
	close(next)
	users.Wait()
	cancel()
	around.Wait()
	struck := 0
	for _, f := range s.Faults().List() {
		struck += f.Struck
		t.Logf("%6d  times %s %s %d", f.Struck, f.Kind, f.Method, f.Status)
	}
	s.Faults().Remove(0)
	for _, line := range w.tally.lines() {
		t.Log(line)
	}
	seen := 0
	w.vms.Range(func(any, any) bool { seen++; return true })
	t.Logf("%d machines asked for by %d clients in %v, %d calls; %d VMs were made; %d faults struck",
		*creations, *clients, time.Since(start).Round(time.Second), w.calls.Load(), seen, struck)
	w.nothingLeft()
}

// restarts closes and opens the API again and again.
func (w *world) restarts(ctx context.Context) {
	tick := time.NewTicker(restartEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.s.Restart(context.WithoutCancel(ctx), restartTakes); err != nil {
			w.t.Errorf("restart: %v", err)
			return
		}
		w.tally.add("restarts of the API")
	}
}

// watch looks at all VMs, as somebody at the cluster sees them: of each name there is one.
func (w *world) watch(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		w.look()
		w.evict(ctx)
		<-tick.C
	}
}

// evict ends the VMs of strangers after a while, as strangers do: else they fill the cluster.
func (w *world) evict(ctx context.Context) {
	for _, vm := range w.s.VMs() {
		if vm.CreatedBy != operator.Stranger || vm.Deleting {
			continue
		}
		since, known := w.strangers[vm.Name]
		if !known {
			w.strangers[vm.Name] = time.Now()
		} else if time.Since(since) > strangersStay {
			req, err := http.NewRequestWithContext(ctx, http.MethodDelete, w.s.Endpoint()+"/api/v1/namespaces/orka-default/vms/"+vm.Name, nil)
			if err != nil {
				w.t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+w.tokens[orka.DoorREST].Reveal())
			if resp, err := http.DefaultClient.Do(req); err == nil { // else the API is down: next time
				resp.Body.Close()
			}
		}
	}
}

func (w *world) look() {
	of := map[string]string{}
	for _, vm := range w.s.VMs() {
		if vm.CreatedBy == operator.Stranger {
			continue
		}
		w.vms.Store(vm.Name, true)
		i := strings.LastIndex(vm.Name, "-")
		if i < 0 || !strings.HasPrefix(vm.Name, "mac-") {
			w.t.Errorf("VM %s: nobody asked for that", vm.Name)
			continue
		}
		if other, twice := of[vm.Name[:i]]; twice {
			w.t.Errorf("two VMs for one machine: %s and %s", vm.Name, other)
		}
		of[vm.Name[:i]] = vm.Name
	}
}

// open opens the provider as a new process would. Without memory it has no records either.
func (w *world) open(door orka.Door, state string) *orka.Provider {
	p, err := orka.New("orka", orka.Config{
		Endpoint: w.s.Endpoint(), Token: w.tokens[door], Door: door, CapacityWait: 500 * time.Millisecond, BootTimeout: 4 * time.Second,
	}, state, nil)
	if err != nil {
		w.t.Error(err)
	}
	return p
}

// use asks for one machine, uses it and gives it back.
func (w *world) use(ctx context.Context, n int, random *rand.Rand) {
	name := machine.Name(fmt.Sprintf("mac-%04d", n))
	doors := []orka.Door{orka.DoorKubernetes, orka.DoorREST, orka.DoorAuto}
	door := doors[random.IntN(len(doors))]
	state := filepath.Join(w.state, fmt.Sprint(n%7)) // some share a folder
	p := w.open(door, state)
	for range 3 {
		limit, cancel := context.WithTimeout(ctx, time.Minute)
		what := random.IntN(10)
		if what == 0 { // the user gives up
			cancel()
			limit, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(1500*time.Millisecond))))
		}
		w.calls.Add(1)
		m, err := p.Create(limit, machine.Spec{Name: name, Owner: owner, Expires: time.Now().Add(time.Hour)})
		cancel()
		w.tally.add("Create: " + outcome(err))
		if err == nil {
			w.tally.add("login: " + outcome(w.login(ctx, m)))
			break
		}
		if what == 0 || !fault.Lookup(fault.Of(err)).Retry {
			break
		}
		if what < 4 { // this process is killed; another goes on, through any door
			p = w.open(doors[random.IntN(len(doors))], state)
		}
	}
	if random.IntN(8) == 0 { // all memory is lost, as with a controller's Pod
		w.forgot.Store(name, true)
		p = w.open(door, filepath.Join(w.state, "lost", fmt.Sprint(n)))
		w.tally.add("memories lost")
	}
	w.giveBack(ctx, p, name)
}

// giveBack deletes until that works, as controllers do.
func (w *world) giveBack(ctx context.Context, p *orka.Provider, name machine.Name) {
	end := time.Now().Add(3 * time.Minute)
	for {
		limit, cancel := context.WithTimeout(ctx, time.Minute)
		w.calls.Add(1)
		err := p.Delete(limit, name)
		cancel()
		w.tally.add("Delete: " + outcome(err))
		if err == nil {
			return
		}
		if time.Now().After(end) {
			w.t.Errorf("machine %s is not deleted: %v", name, err)
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// login proves that a machine that was handed out answers, or has died since.
func (w *world) login(ctx context.Context, m machine.Machine) error {
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := reach.Dial(limit, m.Endpoint, reach.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	_, _, err = c.Output(limit, "true", nil)
	return err
}

func outcome(err error) string {
	if err == nil {
		return "well"
	}
	return string(fault.Of(err))
}

// nothingLeft: everything that was asked for is gone. Where all memory was lost a request
// of unknown fate is forgotten too, so its VM may appear after the deletion: then, and only
// then, the sweep that controllers make has something to do. What is of strangers is not
// ours to delete.
func (w *world) nothingLeft() {
	w.left(func(name machine.Name) bool {
		_, forgot := w.forgot.Load(name)
		if forgot {
			w.tally.add("left to the sweep")
		}
		return forgot
	})
	p := w.open(orka.DoorAuto, filepath.Join(w.state, "sweep"))
	all, err := p.List(w.t.Context(), owner)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Logf("%d left to the sweep", len(all))
	for _, m := range all {
		if err := p.Delete(w.t.Context(), m.Name); err != nil {
			w.t.Error(err)
		}
	}
	w.left(func(machine.Name) bool { return false })
}

// left complains of VMs that are left and may not be.
func (w *world) left(may func(machine.Name) bool) {
	for _, vm := range w.s.VMs() {
		name, _, _ := strings.Cut(strings.TrimPrefix(vm.Name, "mac-"), "-")
		if vm.CreatedBy != operator.Stranger && !vm.Deleting && !may(machine.Name("mac-"+name)) {
			w.t.Errorf("left behind: VM %s, %s, made by %s", vm.Name, vm.Phase, vm.CreatedBy)
		}
	}
}
