//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// run measures, step by step.
func (b *bench) run(ctx context.Context, pid int) error {
	begin := time.Now()
	if err := b.setUp(ctx); err != nil {
		return err
	}
	free := *machines / 10
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		n, err := b.idle(ctx, warm)
		return n == free, err
	})
	if err != nil {
		return err
	}
	empty := lookAt(pid)
	next, err := b.fill(ctx)
	if err != nil {
		return err
	}
	filled := lookAt(pid)
	fmt.Fprintf(os.Stderr, "%d machines, %d claims in use, %d waiting after %s\n", *machines, *machines-free, *queued, time.Since(begin).Round(time.Second))
	// The positions of those who wait are told in the background.
	if err := b.settled(ctx, pid); err != nil {
		return err
	}
	before := lookAt(pid)
	select {
	case <-time.After(*steady):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	rest := lookAt(pid)
	restCPU := (rest.cpu - before.cpu).Seconds() / steady.Seconds()

	churn, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var handed []time.Duration
	wg.Go(func() { handed = b.churn(churn, next) })
	from, started := lookAt(pid), time.Now()
	bound, err := b.sample(ctx)
	loaded, took := lookAt(pid), time.Since(started)
	stop()
	wg.Wait()
	if err != nil {
		return err
	}
	fmt.Printf("machines %d, of these %d in use; claims waiting %d\n\n", *machines, *machines-free, *queued)
	fmt.Println("| what | value |\n|-|-|")
	row := func(what, format string, args ...any) {
		fmt.Printf("| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	row("memory (RSS), machines only", "%d MiB", empty.rss>>20)
	row("memory (RSS), when the queue was just filled", "%d MiB", filled.rss>>20)
	row("memory (RSS), at rest", "%d MiB", rest.rss>>20)
	row("memory (RSS), under load", "%d MiB", loaded.rss>>20)
	row("processor at rest", "%.1f %% of a core", 100*restCPU)
	row("processor under load", "%.1f %% of a core", 100*(loaded.cpu-from.cpu).Seconds()/took.Seconds())
	row("processor for filling it", "%.1f s", filled.cpu.Seconds())
	row("claim made until it is bound to a warm machine", "%s", percentiles(bound))
	row("claim over until its machine is bound to the next one", "%s", percentiles(handed))
	row("of these, hand-overs a second during the measurement", "%.1f", float64(len(handed))/took.Seconds())
	return nil
}

// settled waits until the controller has nothing to do for a while.
func (b *bench) settled(ctx context.Context, pid int) error {
	last := lookAt(pid).cpu
	return wait.PollUntilContextTimeout(ctx, 2*time.Second, 5*time.Minute, false, func(context.Context) (bool, error) {
		now := lookAt(pid).cpu
		quiet := now-last < 400*time.Millisecond
		last = now
		return quiet, nil
	})
}

// sample asks for warm machines, one after the other.
func (b *bench) sample(ctx context.Context) ([]time.Duration, error) {
	var all []time.Duration
	for n := range *samples {
		name := claimName(warm, n)
		began := time.Now()
		if err := b.claim(ctx, warm, n); err != nil {
			return nil, err
		}
		if err := b.until(ctx, func() bool { _, ok := b.bound[name]; return ok }); err != nil {
			return nil, err
		}
		b.mu.Lock()
		all = append(all, b.bound[name].Sub(began))
		b.mu.Unlock()
		if err := b.end(ctx, name, n); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// churn ends claims of the busy pool, and makes one new claim for each that ends, about ten a second.
func (b *bench) churn(ctx context.Context, next int) []time.Duration {
	var all []time.Duration
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return all
		case <-tick.C:
		}
		machine, name := b.oneOf(busy)
		index, err := strconv.Atoi(strings.TrimPrefix(name, busy+"-"))
		if err != nil {
			continue // none is in use
		}
		began := time.Now()
		if b.end(ctx, name, index) != nil {
			continue // ctx ended
		}
		if b.until(ctx, func() bool { return b.who[machine] != name }) != nil {
			return all
		}
		b.mu.Lock()
		all = append(all, b.bound[b.who[machine]].Sub(began))
		b.mu.Unlock()
		if b.claim(ctx, busy, next+n) != nil {
			return all // ctx ended
		}
	}
}

// oneOf returns a machine of the pool and the claim that has it.
func (b *bench) oneOf(pool string) (machine, claim string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for m, c := range b.who {
		if strings.HasPrefix(c, pool+"-") {
			return m, c
		}
	}
	return "", ""
}

func percentiles(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(p float64) time.Duration { return all[int(p*float64(len(all)-1))].Round(100 * time.Microsecond) }
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, max %s (%d)", at(.5), at(.9), at(.99), at(1), len(all))
}

// A look is what a process uses.
type look struct {
	rss int64
	cpu time.Duration
}

// ticks is what /proc counts processor time in: a hundredth of a second on every Linux.
const ticks = 10 * time.Millisecond

func lookAt(pid int) look {
	var l look
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return l
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(f) < 22 {
		return l
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(f[i], 10, 64); return n } // 0 is what a reader sees of nonsense
	l.cpu = time.Duration(number(11)+number(12)) * ticks
	l.rss = number(21) * int64(os.Getpagesize())
	return l
}
