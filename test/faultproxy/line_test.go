package faultproxy

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestDelayIsPipelined: a hundred parcels sent at once arrive after one delay, not a hundred.
func TestDelayIsPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 20 * time.Millisecond
		begin := time.Now()
		f := newFlight(1 << 20)
		for range 100 {
			if !f.room(t.Context(), 1000) {
				t.Fatal("no room in a window that is large enough")
			}
			f.put(parcel{make([]byte, 1000), time.Now().Add(delay)})
		}
		f.end()
		n := 0
		for {
			p, ok := f.get(t.Context())
			if !ok {
				break
			}
			f.landed(len(p.data))
			n++
		}
		if took := time.Since(begin); n != 100 || took != delay {
			t.Errorf("%d parcels in %s, want 100 in %s", n, took, delay)
		}
	})
}

// TestWindowHoldsTheSenderBack: a window of two parcels carries two parcels per delay.
func TestWindowHoldsTheSenderBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 20 * time.Millisecond
		begin := time.Now()
		f := newFlight(2000)
		go func() {
			defer f.end()
			for range 10 {
				f.room(t.Context(), 1000)
				f.put(parcel{make([]byte, 1000), time.Now().Add(delay)})
			}
		}()
		for {
			p, ok := f.get(t.Context())
			if !ok {
				break
			}
			f.landed(len(p.data))
		}
		if took := time.Since(begin); took != 5*delay {
			t.Errorf("10 parcels through a window of 2 took %s, want %s", took, 5*delay)
		}
	})
}

// TestLineIsShared: a megabyte a second is a megabyte a second, however many take from it.
func TestLineIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(Link{BytesPerSec: 1_000_000})
		begin := time.Now()
		for range 3 {
			l.take(250_000)
		}
		if left := l.take(250_000).Sub(begin); left != time.Second {
			t.Errorf("the last of 1,000,000 bytes left after %s, want 1s", left)
		}
		<-time.After(2 * time.Second)
		if left := time.Until(l.take(1000)); left != time.Millisecond {
			t.Errorf("1,000 bytes left an idle line after %s, want 1ms: idle time must not be saved up", left)
		}
	})
}
