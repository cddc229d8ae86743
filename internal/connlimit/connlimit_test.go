package connlimit_test

import (
	"net"
	"slices"
	"sync"
	"testing"

	"outrigger.dev/outrigger/internal/connlimit"
)

func TestTheOldestOfThoseWhoHoldMostGivesWay(t *testing.T) {
	l := &connlimit.Limiter{Total: 5, PerSource: 3}
	var ended []string
	leave := map[string]func() bool{}
	enter := func(source, name string) {
		leave[name] = l.Enter(source, func() { ended = append(ended, name) })
	}
	for _, step := range []struct {
		source, name string
		want         []string // that ended by now
	}{
		{"a", "a1", nil}, {"a", "a2", nil}, {"a", "a3", nil},
		{"a", "a4", []string{"a1"}}, // of its own source
		{"b", "b1", []string{"a1"}}, {"c", "c1", []string{"a1"}},
		{"d", "d1", []string{"a1", "a2"}}, // of the one that has most
		{"d", "d2", []string{"a1", "a2", "a3"}},
	} {
		enter(step.source, step.name)
		if !slices.Equal(ended, step.want) {
			t.Fatalf("after %s ended %v, want %v", step.name, ended, step.want)
		}
	}
	for name, want := range map[string]bool{"a1": false, "a4": true, "b1": true} {
		if got := leave[name](); got != want {
			t.Errorf("%s left: %v, want %v", name, got, want)
		}
		if leave[name]() {
			t.Errorf("%s left twice", name)
		}
	}
	enter("e", "e1")
	enter("e", "e2")
	if len(ended) != 3 {
		t.Errorf("ended %v though there was room", ended)
	}
}

func TestAtOnce(t *testing.T) {
	l := &connlimit.Limiter{Total: 8, PerSource: 4}
	var mu sync.Mutex
	ended, left := 0, 0
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			leave := l.Enter(string(rune('a'+i%7)), func() { mu.Lock(); ended++; mu.Unlock() })
			if leave() {
				mu.Lock()
				left++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if ended+left != 400 {
		t.Errorf("%d ended and %d left, want 400 of both", ended, left)
	}
}

func TestSource(t *testing.T) {
	for addr, want := range map[string]string{
		"10.1.2.3:80": "10.1.2.3", "[::ffff:10.1.2.3]:80": "10.1.2.3", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1": "fe80::/64",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := connlimit.Source(tcp); got != want {
			t.Errorf("%s counts for %q, want %q", addr, got, want)
		}
	}
	if got := connlimit.Source(&net.UnixAddr{Name: "x"}); got != "x" {
		t.Errorf("got %q", got)
	}
}
