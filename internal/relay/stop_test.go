package relay

import (
	"context"
	"errors"
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// heard reads n signals that were forwarded to the command.
func heard(t *testing.T, s *stopper, n int) []string {
	t.Helper()
	var got []string
	for range n {
		select {
		case sig := <-s.forward:
			got = append(got, sig)
		case <-time.After(10 * time.Second):
			t.Fatalf("heard %q, want %d signals", got, n)
		}
	}
	return got
}

func TestWhatASignalMeans(t *testing.T) {
	for _, tt := range []struct {
		name      string
		grace     time.Duration
		run       bool
		signals   string // one letter each: I, T, H, Q, U
		forwarded int
		ends      string // the signal that made us give up
	}{
		{"before the command, the first ends us", 0, false, "I", 0, "INT"},
		{"but not one that ends nothing", 0, false, "U", 0, ""},
		{"the first is the command's", 0, true, "I", 1, ""},
		{"the second is ours", 0, true, "IT", 1, "TERM"},
		{"unless it does not ask for the end", 0, true, "IQU", 3, ""},
		{"and those do not count", 0, true, "QUI", 3, ""},
		{"in a container all are the command's", time.Hour, true, "ITQ", 3, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			signals := make(chan string)
			s, ctx := watch(ctx, signals, tt.grace)
			defer s.end()
			if tt.run {
				s.run(true)
			}
			names := map[rune]string{'I': "INT", 'T': "TERM", 'H': "HUP", 'Q': "QUIT", 'U': "USR1"}
			for _, c := range tt.signals {
				signals <- names[c]
			}
			if tt.ends == "" {
				heard(t, s, tt.forwarded)
				if ctx.Err() != nil {
					t.Errorf("gave up: %v", context.Cause(ctx))
				}
				return
			}
			<-ctx.Done()
			if cause := context.Cause(ctx); !fault.Is(cause, fault.Interrupted) || cause.Error() != "stopped by SIG"+tt.ends {
				t.Errorf("cause %v, want SIG%s", cause, tt.ends)
			}
		})
	}
}

// Nobody takes what is forwarded: signals are still heard, and the third asks to give up.
func TestSignalsAreHeardWhileTheCommandsSideIsStuck(t *testing.T) {
	signals := make(chan string)
	s, ctx := watch(t.Context(), signals, 0)
	defer s.end()
	s.run(true)
	for range 50 {
		signals <- "USR1"
	}
	for _, sig := range []string{"QUIT", "INT", "INT"} {
		signals <- sig
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the second INT is not heard")
	}
	if len(s.queue) > 3 {
		t.Errorf("%d signals wait, want one of each", len(s.queue))
	}
}

func TestAfterAGraceTheCommandIsKilled(t *testing.T) {
	signals := make(chan string)
	s, ctx := watch(t.Context(), signals, time.Millisecond)
	defer s.end()
	s.run(true)
	signals <- "TERM"
	if got := heard(t, s, 2); got[0] != "TERM" || got[1] != "KILL" {
		t.Errorf("the command got %q", got)
	}
	s.run(false)
	signals <- "TERM" // comes after the command: changes nothing
	if ctx.Err() != nil {
		t.Error("gave up")
	}
}

func TestALeaseWithoutTimeIsAMistakeOfOurs(t *testing.T) {
	for _, ttl := range []time.Duration{0, -55 * time.Minute} {
		if _, err := Do(t.Context(), nil, Job{Lease: Lease{Name: "box", TTL: ttl}}, nil); !fault.Is(err, fault.Internal) {
			t.Errorf("%s: %v", ttl, err)
		}
	}
}

func TestTheFirstFaultIsToldWithTheOthers(t *testing.T) {
	first := fault.New(fault.DiskFull, "full").WithRemedy("Free some.").WithDetail("d").WithExit(9)
	err := joinFaults([]error{nil, first, errors.New("second"), nil, fault.New(fault.Busy, "third")})
	var f *fault.Error
	if !errors.As(err, &f) || err.Error() != "full; and second; and third" || f.Kind != fault.DiskFull ||
		f.Detail != "d" || f.Exit != 9 || fault.Remedy(err) != "Free some." {
		t.Errorf("%+v", f)
	}
	if err := joinFaults([]error{nil, nil}); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	r := &relay{job: Job{Absence: time.Hour}, watcher: deaf{}}
	tries := 0
	err := r.persist(t.Context(), func(context.Context) error {
		if tries++; tries < 3 {
			return fault.New(fault.Unreachable, "cut")
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("a broken connection: %v after %d tries", err, tries)
	}
	tries = 0
	err = r.persist(t.Context(), func(context.Context) error { tries++; return fault.New(fault.Conflict, "both") })
	if !fault.Is(err, fault.Conflict) || tries != 1 {
		t.Errorf("an answer: %v after %d tries", err, tries)
	}
	r.job.Absence = 0
	err = r.persist(t.Context(), func(context.Context) error { return fault.New(fault.Unreachable, "cut") })
	if !fault.Is(err, fault.MachineLost) {
		t.Errorf("after the permitted absence: %v", err)
	}
}

// deaf hears nothing that these tests are about.
type deaf struct{ Watcher }

func (deaf) Lost(error, time.Duration) {}
func (deaf) Back()                     {}

// The first signal is the command's only if there is one, or soon.
func TestASignalBeforeTheMachineAnswers(t *testing.T) {
	for _, begun := range []bool{false, true} {
		signals := make(chan string)
		s, ctx := watch(t.Context(), signals, 0)
		s.startIn = 50 * time.Millisecond
		s.run(true)
		if begun {
			s.began()
		}
		signals <- "HUP"
		heard(t, s, 1)
		if begun { // no time runs out
			s.mu.Lock()
			if len(s.timers) > 0 {
				t.Error("a time limit for a command that is there")
			}
			s.mu.Unlock()
		} else {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
			}
			if want := Interrupted("HUP"); context.Cause(ctx) == nil || context.Cause(ctx).Error() != want.Error() {
				t.Errorf("gave up: %v, want %v", context.Cause(ctx), want)
			}
		}
		s.end()
	}
}
