//go:build unix

package deliver

import (
	"testing"
	"time"

	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/sshd"
)

// What a run on a warm machine pays before its first request is answered: the
// login, then the agent.
func BenchmarkWarmStart(b *testing.B) {
	for _, line := range []struct {
		name string
		link faultproxy.Link
	}{
		{"loopback", faultproxy.Link{}},
		{"rtt=40ms", faultproxy.Link{Delay: 20 * time.Millisecond}},
	} {
		b.Run(line.name, func(b *testing.B) {
			s := sshd.Start(b, sshd.Options{})
			p, err := faultproxy.Start(faultproxy.Config{Target: s.Endpoint().Address(), Link: line.link})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			ep := s.Endpoint()
			if line.link.Delay > 0 {
				ep.Port = p.Port()
			}
			src, _ := testSource(b)
			var login, open time.Duration
			start := func() {
				began := time.Now()
				c, err := reach.Dial(b.Context(), ep, reach.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				login += time.Since(began)
				began = time.Now()
				if _, _, err := speak(b.Context(), c, src, ""); err != nil {
					b.Fatal(err)
				}
				open += time.Since(began)
			}
			start() // the agent is there from now on
			login, open = 0, 0
			for b.Loop() {
				start()
			}
			b.ReportMetric(float64(login.Microseconds())/1000/float64(b.N), "login-ms")
			b.ReportMetric(float64(open.Microseconds())/1000/float64(b.N), "agent-ms")
		})
	}
}
