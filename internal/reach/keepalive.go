package reach

import (
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

// keepalive asks the machine for a sign of life every interval, so that a NAT
// on the way does not forget the connection, and closes the connection when
// nothing at all was heard for interval times misses. Without it a pulled
// cable would be noticed only when something is sent, and then late.
func (c *Client) keepalive(interval time.Duration, misses int) {
	limit := interval * time.Duration(misses)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-c.done:
				return
			}
			// Any answer will do: servers that do not know the request refuse it.
			if _, _, err := c.link.ssh.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				return // watch knows why
			}
		}
	}()
	for {
		// Data counts as well as answers: on a busy slow link an answer waits behind megabytes.
		left := limit - c.link.conn.quietFor()
		if left <= 0 {
			c.fail(fault.New(fault.Unreachable, "%s: connection lost: no sign of life for %v", c.link.where, limit))
			return
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-asked:
			t.Stop()
			return
		}
	}
}
