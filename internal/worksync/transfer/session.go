package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/apply"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/guard"
	"outrigger.dev/outrigger/internal/worksync/ignore"
	"outrigger.dev/outrigger/internal/worksync/ignorefile"
	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// ClientConfig says what the near side syncs.
type ClientConfig struct {
	Root     string   // the user's folder
	StateDir string   // the near side's baseline of this folder on this machine; made if it is missing
	Exclude  []string // gitignore patterns; those of the root's ignore file come before them
	TempTag  string   // marks temporary files in Root, see CleanTemp
	// Fixed are paths below Root that something holds in place, such as mount
	// points: Back neither removes nor replaces them. One that was removed on the
	// machine is there again after the next Up.
	Fixed []string
	// AllowHere takes whatever is missing here for deleted, AllowThere what is
	// missing on the machine, however much it is; see absence.go.
	AllowHere, AllowThere bool
	// Prefer says which side is right about what both have changed.
	Prefer plan.Prefer
	// AsHere says that the command could not read here either what we cannot, so
	// that nothing is missing on the machine.
	AsHere bool
	// Only, if there are any, are the paths that Back brings, with what is below them. The rest stays
	// as it is on both sides, and is still to come.
	Only []string
	// Apart says that Root is not the folder that the machine's copy was made from: Back brings
	// everything into it, and nothing that was agreed on with another folder is changed by it.
	Apart bool
	// ProbeIn is the folder below Root in which the file system is tried out; "": Root.
	ProbeIn string
	// Turn, if set, is called by Back before it takes a step, with the time at which the change was made
	// there, when all that was to come before is there: several sessions can take theirs in one order.
	Turn func(ctx context.Context, when int64) error
	// TakeGit lets Back take Git's configuration and hooks too, which Git executes.
	TakeGit bool
	// TakeSetID lets Back take the setuid and setgid bits of files too, by which
	// others here execute them as this user.
	TakeSetID bool
	// Progress is called for every file and piece of one, from one goroutine at
	// a time; it should return at once.
	Progress func(Progress)
	Log      *slog.Logger
}

// A Session syncs one folder over one connection. It is for one goroutine.
type Session struct {
	link
	cfg   ClientConfig
	root  *tree.Folder
	store *baseline.Store
	over  bool // the connection is of no more use
}

// Open starts a session. The other side must be in [Serve] on conn by the time
// it reads the first frame. Nothing is sent yet.
func Open(_ context.Context, conn *wire.Conn, cfg ClientConfig) (*Session, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if cfg.TempTag == "" {
		cfg.TempTag = "near"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	root, err := tree.OpenRoot(cfg.Root)
	if err != nil {
		return nil, fault.New(fault.LocalFile, "sync: %w", err)
	}
	store, err := baseline.Open(cfg.StateDir)
	if err != nil {
		root.Close()
		return nil, here.fault(err)
	}
	return &Session{link: link{conn: conn}, cfg: cfg, root: root, store: store}, nil
}

// Close ends the session; the connection stays open and in step, unless an
// operation failed in a way that broke it.
func (s *Session) Close() error {
	err := s.root.Close()
	if s.over {
		return err
	}
	s.over = true
	return errors.Join(err, s.sendBytes(typeBye, nil))
}

// Up brings what changed here to the machine.
//
// What could not be moved for a reason of its own is in the report's Left, and
// then the error is that of [LeftFault]: everything else was done. With any other
// error nothing is left, or all may be: TooManyDeletions, LocalFile, RemoteFile,
// DiskFull, Busy, Protocol, and Unreachable if the connection broke; all may be
// repeated, after Unreachable in a new session. When ctx ends the
// connection is closed and ctx's error returned.
func (s *Session) Up(ctx context.Context) (Report, error) { return s.run(ctx, true) }

// Back brings what changed on the machine here, in the order of the changes; see
// order.go. What changed here meanwhile stays here for the next Up. Faults are those of Up.
func (s *Session) Back(ctx context.Context) (Report, error) { return s.run(ctx, false) }

// changedTries is how often an operation is repeated for the sake of paths that
// changed between its scan and its end.
const changedTries = 3

func (s *Session) run(ctx context.Context, up bool) (Report, error) {
	var all Report
	for try := 1; ; try++ {
		r, err := s.once(ctx, up)
		all.add(r)
		if err != nil || !r.again || try == changedTries {
			if err == nil {
				err = LeftFault(all.Left, all.LeftCount)
			}
			return all, err
		}
	}
}

// once is one operation.
func (s *Session) once(ctx context.Context, up bool) (Report, error) {
	if s.over {
		return Report{}, fault.New(fault.Unreachable, "sync: the session is over")
	}
	release := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer release()
	start, sent, received := time.Now(), s.sent.Load(), s.received.Load()
	x := &exchange{Session: s, view: view{root: s.root, store: s.store}, up: up, list: newListing()}
	move := x.bringBack
	if up {
		move = x.bringUp
	}
	err := here.fault(move(ctx))
	x.report.Duration = time.Since(start)
	x.report.Sent, x.report.Received = s.sent.Load()-sent, s.received.Load()-received
	if err == nil {
		return x.report, nil
	}
	x.report.Left, x.report.LeftCount = nil, 0
	// After a fault in the middle of what both sides say to each other, only
	// some are known to have left the connection in step.
	if ctx.Err() != nil || !x.inStep {
		s.over = true
	}
	return x.report, orCause(ctx, err)
}

// exchange is one operation, seen from the near side.
type exchange struct {
	*Session
	view
	up         bool // the direction
	matcher    *ignore.Matcher
	report     Report
	state      state
	list       listing
	far        []tree.Entry      // what the far side has
	places     map[string]uint32 // of far's entries in its list
	vanished   map[string]bool   // of far's entries, those that were gone when they were read
	guard      *guard.Guard      // once both sides are known
	ignoreFile []string          // the paths by which the ignore file was found
	ways       *names.Ways       // of the folder here, once it was tried out
	inStep     bool              // the far side waits for the next operation

	mu       sync.Mutex // guards progress, and all else that a stream's goroutines note
	progress Progress
}

// patterns are the ignore file's and then the flag's: the last that matches
// counts, so who calls can take back what the folder says.
func (x *exchange) patterns() ([]string, *ignore.Matcher, error) {
	file, err := ignorefile.Read(x.root())
	if err != nil {
		return nil, nil, err
	}
	x.ignoreFile = file.Paths
	patterns := append(file.Patterns, x.cfg.Exclude...)
	m, err := ignore.Parse(patterns)
	if err != nil {
		return nil, nil, fault.New(fault.Usage, "%w", err)
	}
	size := 0
	for _, p := range patterns {
		size += len(p) + 8
	}
	if size > wire.MaxFrame-1024 {
		return nil, nil, fault.New(fault.Usage, "exclude patterns of %d bytes, want less than 1 MiB", size)
	}
	return patterns, m, nil
}

func (x *exchange) root() *tree.Folder { return x.Session.root }

// begin opens the operation; the far side starts to scan.
func (x *exchange) begin() (known baseline.State, err error) {
	patterns, m, err := x.patterns()
	if err != nil {
		x.inStep = true
		return known, err
	}
	x.matcher = m
	if known, err = x.view.store.Load(); err != nil {
		x.inStep = true
		return known, err
	}
	b := begin{Patterns: patterns, Up: x.up}
	for _, g := range known.Generations {
		b.Bases = append(b.Bases, g.ID[:])
	}
	if len(known.Generations) > 0 {
		x.last = known.Generations[0]
	}
	return known, x.send(typeBegin, b)
}

// hear reads the far side's state and list.
func (x *exchange) hear(ctx context.Context, known baseline.State) error {
	if err := x.recvAs(typeState, "the state of a sync", &x.state); err != nil {
		return err
	}
	if x.state.Fault != nil {
		x.inStep = true
		return x.state.Fault.Err()
	}
	if g, ok := generation(known, x.state.Base); ok {
		x.base = g
	} else if len(x.state.Base) > 0 {
		return fault.New(fault.Protocol, "sync: the machine has a baseline that was not offered")
	}
	return x.recvList(ctx, x.list.take)
}

// recvList reads a stream that nobody answers.
func (x *exchange) recvList(ctx context.Context, take func(pack.Record) error) error {
	last, failed, err := x.recvBlocks(ctx, nil, (*pack.Opener).OpenList, take, func(err error) error { return err })
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	case last.Fault != nil:
		return last.Fault.Err()
	}
	return nil
}

// nothing ends the operation without moving anything.
func (x *exchange) nothing() error {
	if err := x.sendBytes(typeNothing, nil); err != nil {
		return err
	}
	x.inStep = true
	return nil
}

// ask sends a question about places in the far side's list.
func (x *exchange) ask(contents bool, places []uint32) error {
	for len(places) > maxPlaces {
		if err := x.send(typeAsk, ask{Contents: contents, Places: places[:maxPlaces], More: true}); err != nil {
			return err
		}
		places = places[maxPlaces:]
	}
	return x.send(typeAsk, ask{Contents: contents, Places: places})
}

// placeOf returns the place of a file in the far side's list. One that is not in it, since it is as in the base, gets
// the next place, and is to be named.
func (x *exchange) placeOf(path string) (place uint32, unlisted bool) {
	place, ok := x.places[path]
	if !ok {
		place = uint32(len(x.places))
		x.places[path] = place
	}
	return place, !ok
}

// nameFiles tells the far side which files have places behind its list.
func (x *exchange) nameFiles(paths []string) error {
	for chunk := range slices.Chunk(paths, maxNames) {
		if err := x.send(typeAsk, ask{Contents: true, Names: chunk, More: true}); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) advance(change func(*Progress)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	change(&x.progress)
	x.cfg.Progress(x.progress)
}

// CleanTemp removes the temporary files with this tag below root, which a
// client that was killed may have left there.
func CleanTemp(ctx context.Context, root, tag string) (removed int, err error) {
	removed, err = apply.CleanTemp(ctx, root, tag)
	if errors.Is(err, os.ErrNotExist) {
		return removed, nil // a folder that is gone holds nothing
	}
	if err != nil {
		return removed, fmt.Errorf("sync: remove temporary files in %s: %w", root, here.fault(err))
	}
	return removed, nil
}
