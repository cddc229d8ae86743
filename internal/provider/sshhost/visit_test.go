package sshhost

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// A host or a line may be so slow that a connection breaks only after a while: that is no host that does not answer.
func TestWhatBreaksLateIsTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cause error
		want  int
	}{
		{"the other side ended it", io.EOF, 3},
		{"a reset", syscall.ECONNRESET, 3},
		{"in the middle of a message", io.ErrUnexpectedEOF, 3},
		{"nobody answered", context.DeadlineExceeded, 1},
		{"no route", syscall.EHOSTUNREACH, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				err := (&visit{}).repeat(t.Context(), func() error {
					if calls++; calls == 3 {
						return nil
					}
					time.Sleep(patience + time.Second) // of the bubble's clock
					return fault.New(fault.Unreachable, "connection lost: %w", tt.cause)
				})
				if calls != tt.want || (err == nil) != (tt.want == 3) || err != nil && !errors.Is(err, tt.cause) {
					t.Errorf("%d tries, %v; want %d", calls, err, tt.want)
				}
			})
		})
	}
}
