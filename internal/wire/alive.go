package wire

import (
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

const (
	// BeatEvery is how often an agent that works on something says that it lives.
	BeatEvery = 5 * time.Second
	// SilenceLimit is how long a client waits for a byte of an agent that owes it an answer: many beats, so that a
	// busy machine or a slow link is not taken for one that hangs.
	SilenceLimit = time.Minute
)

// Beat sends a TypeAlive every so often (0: [BeatEvery]) until stop is called, for work during which nothing else may
// be sent for long.
// stop does not wait for one that is on its way: Recv passes over it wherever it comes.
func (c *Conn) Beat(every time.Duration) (stop func()) {
	if every <= 0 {
		every = BeatEvery
	}
	quit := make(chan struct{})
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			if c.SendBytes(TypeAlive) != nil {
				return // who works learns of it when there is something to say
			}
		}
	}()
	return func() { close(quit) }
}

// LimitSilence has a Recv that gets no byte for limit close the connection and fail. It is for the client of an agent
// that beats, and is called before the first Recv. where names the machine in the fault.
func (c *Conn) LimitSilence(limit time.Duration, where string) { c.silence, c.where = limit, where }

// patient reads from the stream of a connection for as long as the other side is not silent.
type patient struct{ *Conn }

// Read implements io.Reader.
func (p patient) Read(b []byte) (int, error) {
	if p.silence <= 0 {
		return p.rwc.Read(b)
	}
	t := time.AfterFunc(p.silence, func() { p.rwc.Close() })
	n, err := p.rwc.Read(b)
	if !t.Stop() && n == 0 {
		err = fault.New(fault.Unreachable, "%s: the agent there hangs: it said nothing for %s", p.where, p.silence)
	}
	return n, err
}
