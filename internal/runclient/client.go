package runclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

const (
	defaultPing = 5 * time.Second
	// defaultAnswer is Options.Answer. The login shell alone is given ten seconds there.
	defaultAnswer = 30 * time.Second
	// killSlack is what is added to the run's grace when we give it up: a guess.
	killSlack = 5 * time.Second
	// killPing is how often the agent is asked for a sign of life while it kills the run, killAnswer how long it may
	// give none, which includes the way back to it if the connection is lost.
	killPing, killAnswer = time.Second, 3 * time.Second
	// firstDial is how long to try to reach the machine before the run exists.
	firstDial = time.Minute
)

// A client is one Run.
type client struct {
	dial    Dial
	spec    wire.RunSpec
	streams Streams
	opts    Options
	in      *inputLog
	out     *output

	mu      sync.Mutex
	asked   bool          // a start was sent, so there may be a run
	started bool          // a start was answered, so there is one
	begun   chan struct{} // closed with started
	killing bool          // the agent shall kill it
	kill    chan struct{} // closed with killing
	warned  map[string]bool

	heard atomic.Int64 // when the agent was last heard, UnixNano
}

func newClient(dial Dial, spec wire.RunSpec, streams Streams, opts Options) *client {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Ping <= 0 {
		opts.Ping = defaultPing
	}
	if opts.Answer <= 0 {
		opts.Answer = defaultAnswer
	}
	if opts.Where == "" {
		opts.Where = "the machine"
	}
	if spec.Absence <= 0 {
		spec.Absence = wire.DefaultAbsence
	}
	if spec.KillGrace <= 0 {
		spec.KillGrace = wire.DefaultKillGrace
	}
	if opts.Redial <= 0 {
		opts.Redial = spec.Absence + 30*time.Second
	}
	return &client{dial: dial, spec: spec, streams: streams, opts: opts, in: newInputLog(), out: newOutput(streams.Out, streams.Err),
		kill: make(chan struct{}), begun: make(chan struct{}), warned: map[string]bool{}}
}

// run lives a little longer than ctx: what ctx's end asks for, the killing of
// the run, takes its time.
func (c *client) run(ctx context.Context) (Exit, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() {
		if c.giveUp() && !fault.Is(context.Cause(ctx), fault.MachineLost) { // else there is nobody to be told
			c.awaitKill(life)
		}
		end()
	})
	defer stop()

	var tasks sync.WaitGroup
	defer tasks.Wait()
	feeding, stopFeeding := context.WithCancel(life)
	defer stopFeeding()
	c.feed(feeding, &tasks)
	// Not waited for: a stream that blocks for ever cannot be interrupted.
	go c.out.write(life.Done())
	tasks.Go(func() { c.watchStreams(feeding, end) })

	err := c.hold(life)
	p := c.out.look()
	if p.exit == nil {
		switch {
		case ctx.Err() != nil:
			return Exit{}, interrupted(ctx)
		case p.broken != nil && c.opts.Attach:
			return brokenStream(Exit{}, p.broken)
		}
		return Exit{}, err
	}
	switch {
	case ctx.Err() != nil:
		return *p.exit, interrupted(ctx)
	case p.broken != nil:
		return brokenStream(*p.exit, p.broken)
	}
	return *p.exit, c.judge(*p.exit)
}

// giveUp has the run killed, and tells whether there may be one that is ours to kill.
func (c *client) giveUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opts.Attach {
		return false
	}
	if !c.killing {
		c.killing = true
		close(c.kill)
	}
	return c.asked
}

// awaitKill waits while the run is killed, for as long as the agent answers and has time for it. Nobody who gave up
// waits for an agent that hangs or cannot be reached; it ends the run when our absence is over.
func (c *client) awaitKill(ctx context.Context) {
	began := time.Now()
	look := time.NewTicker(killPing / 4)
	defer look.Stop()
	for heard := began; time.Since(heard) < killAnswer && time.Since(began) < c.spec.KillGrace+killSlack; {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		if last := time.Unix(0, c.heard.Load()); last.After(heard) {
			heard = last
		}
	}
}

// feed starts what fills the input log.
func (c *client) feed(ctx context.Context, tasks *sync.WaitGroup) {
	if c.streams.In == nil {
		_ = c.in.add(ctx, wire.RecordEOF, nil, false) // does not wait, so does not fail
	} else {
		// Not waited for: see Streams.In. What is read before there is a run would be
		// lost with an attempt that fails, and the next, by another Run, miss it.
		go func() {
			select {
			case <-c.begun:
			case <-ctx.Done():
				return
			}
			if err := c.in.feed(ctx, c.streams.In); err != nil && ctx.Err() == nil {
				c.warn("stdin: " + err.Error())
			}
		}()
	}
	tasks.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s, ok := <-c.streams.Signals:
				if !ok {
					c.streams.Signals = nil
					continue
				}
				_ = c.in.add(ctx, wire.RecordSignal, []byte(s), false) // does not wait, so does not fail
			case size, ok := <-c.streams.Resize:
				if !ok {
					c.streams.Resize = nil
					continue
				}
				b, err := wire.Marshal(size)
				if err != nil {
					c.opts.Log.Error("encode window size", "error", err)
					continue
				}
				_ = c.in.add(ctx, wire.RecordResize, b, false) // does not wait, so does not fail
			}
		}
	})
}

// watchStreams has the run killed when a stream of ours breaks, as SIGPIPE would.
func (c *client) watchStreams(ctx context.Context, end context.CancelFunc) {
	for {
		p := c.out.look()
		if p.broken != nil {
			if !c.giveUp() {
				end() // it is not ours to kill
				return
			}
			if c.awaitKill(ctx); ctx.Err() == nil {
				end()
			}
			return
		}
		if p.exit != nil {
			return
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			return
		}
	}
}

// hold keeps a connection to the run until its exit is written.
func (c *client) hold(ctx context.Context) error {
	b := backoff{limit: min(c.opts.Redial, firstDial)}
	lost, ever := false, false
	for {
		conn, err := c.reach(ctx, &b)
		if err != nil {
			return err
		}
		before := c.passed()
		var joined time.Time
		err = c.session(ctx, conn, func() {
			joined = time.Now()
			if !ever {
				b = backoff{limit: c.opts.Redial}
			}
			if lost && c.opts.Back != nil {
				c.opts.Back()
			}
			lost, ever = false, true
		})
		// A connection that answers and breaks at once, each time, is no way back.
		if !joined.IsZero() && (c.passed() != before || time.Unix(0, c.heard.Load()).Sub(joined) >= c.opts.Ping) {
			b = backoff{limit: c.opts.Redial}
		}
		var final finalError
		switch {
		case c.out.look().exit != nil:
			return nil
		case errors.As(err, &final):
			return final.err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		c.opts.Log.Info("connection to the run broke", "run", c.spec.RunID, "cause", err)
		if !lost && c.opts.Lost != nil {
			c.opts.Lost(err)
		}
		lost = true
		if err := b.wait(ctx, err); err != nil {
			return c.lostErr(err, b.limit)
		}
	}
}

// passed is how much of both logs the two sides have taken.
func (c *client) passed() wire.Pos { return c.out.look().received + c.in.first() }

// reach dials until it works or b gives up.
func (c *client) reach(ctx context.Context, b *backoff) (*wire.Conn, error) {
	for {
		dctx, cancel := context.WithTimeoutCause(ctx, c.opts.Answer, fmt.Errorf("not done within %s", c.opts.Answer))
		conn, err := c.dial(dctx)
		cancel()
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if hopeless(err) {
			return nil, err
		}
		c.opts.Log.Debug("dial", "run", c.spec.RunID, "error", err)
		if err := b.wait(ctx, err); err != nil {
			return nil, c.lostErr(err, b.limit)
		}
	}
}

// lostErr makes the fault of a redial that gave up.
func (c *client) lostErr(err error, limit time.Duration) error {
	c.mu.Lock()
	asked := c.asked
	c.mu.Unlock()
	if errors.Is(err, context.Canceled) || !asked {
		return err
	}
	return fault.New(fault.MachineLost, "run %s: no way back to %s for %s: %w", c.spec.RunID, c.opts.Where, limit, err)
}

func (c *client) warn(text string) {
	c.mu.Lock()
	seen := c.warned[text]
	c.warned[text] = true
	c.mu.Unlock()
	if !seen && c.opts.Warn != nil {
		c.opts.Warn(text)
	}
}
