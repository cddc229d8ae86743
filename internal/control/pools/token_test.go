package pools

import (
	"testing"
	"time"
)

func TestTokenWarnsDaysBefore(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		end    time.Time
		ok     bool
		reason string
	}{
		{"a year", now.AddDate(1, 0, 0), true, "Valid"},
		{"eight days", now.AddDate(0, 0, 8), true, "Valid"},
		{"six days", now.AddDate(0, 0, 6), false, "EndsSoon"},
		{"now", now, false, "Ended"},
		{"yesterday", now.AddDate(0, 0, -1), false, "Ended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ok, reason, message := tokenCondition(tt.end, now)
			if ok != tt.ok || reason != tt.reason {
				t.Errorf("got %v, %s: %s; want %v, %s", ok, reason, message, tt.ok, tt.reason)
			}
			_, _, later := tokenCondition(tt.end, now.Add(time.Minute))
			if tt.reason != "Valid" && later != message {
				t.Errorf("the words change with the time: %q, %q", message, later)
			}
		})
	}
}
