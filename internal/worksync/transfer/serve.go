package transfer

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/sanitize"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/baseline"
	"outrigger.dev/outrigger/internal/worksync/ignore"
	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/pack"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// ServeConfig says what the far side serves.
type ServeConfig struct {
	Root     string // the synced folder; must exist
	Within   string // a folder above Root: nothing from there on may be a link; "": Root alone may not be
	StateDir string // the far side's baseline; made if it is missing
	// Hold calls use while nobody takes Root and StateDir away, or says why they are served no more. Whoever
	// removed them must not find them made again by a session that is still open. nil: they stay.
	Hold func(ctx context.Context, use func() error) error
	Beat time.Duration // how often the near side hears that an operation goes on; 0: [wire.BeatEvery]
	Log  *slog.Logger
}

func (c ServeConfig) hold(ctx context.Context, use func() error) error {
	if c.Hold == nil {
		return use()
	}
	return c.Hold(ctx, use)
}

// unlinked tells of a work folder that a command has made a link to another, all of which would else be
// taken for what the command wrote, and what was in the folder for deleted.
func (c ServeConfig) unlinked() error {
	for path := c.Root; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return fault.New(fault.RemoteFile, "sync: the work folder on the machine: %w", err)
		}
		if !info.IsDir() {
			return fault.New(fault.RemoteFile, "sync: the work folder on the machine: %s is a %s now, want the folder that was made", path, kind(info))
		}
		if parent := filepath.Dir(path); c.Within == "" || parent == c.Within || parent == path {
			return nil
		}
	}
}

func kind(info os.FileInfo) string {
	if info.Mode()&os.ModeSymlink != 0 {
		return "symbolic link"
	}
	return "file"
}

// Serve answers operations on conn until the near side ends the session, after
// which conn can be used for something else. What goes wrong in the folder is
// told to the near side and ends only its operation; the error returned is a
// connection that broke or made no sense. When ctx ends, conn is closed.
func Serve(ctx context.Context, conn *wire.Conn, cfg ServeConfig) error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return (&server{link: link{conn: conn}, cfg: cfg}).run(ctx)
}

func (s *server) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { s.conn.Close() })()
	for {
		f, err := s.recv()
		if err != nil {
			return orCause(ctx, err)
		}
		switch f.Type {
		case typeBye:
			return nil
		case typeBegin:
			if err := s.operation(ctx, f); err != nil {
				return orCause(ctx, err)
			}
		default:
			return unexpected("the begin of a sync", byte(f.Type))
		}
	}
}

// orCause prefers the reason why ctx ended to what its end led to.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

type server struct {
	link
	cfg    ServeConfig
	ways   *names.Ways // of the root, once probed
	ticket ticket
}

// operation is one begin and what follows from it.
func (s *server) operation(ctx context.Context, f wire.Frame) error {
	var b begin
	if err := decode(f, "begin", &b); err != nil {
		return err
	}
	// Scanning, reading and applying may each take long without a byte to send.
	defer s.conn.Beat(s.cfg.Beat)()
	o := &operation{server: s}
	st, err := o.look(ctx, b)
	if o.root != nil {
		defer o.root.Close()
	}
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return s.send(typeState, state{Fault: wire.FaultOf(there.fault(err))})
	}
	if err := s.send(typeState, st); err != nil {
		return err
	}
	if err := s.sendList(func(to *pack.Lister) error {
		var err error
		o.listed, err = o.putList(to)
		return err
	}); err != nil {
		return err
	}
	return o.answer(ctx)
}

// operation is the far side's part of one.
type operation struct {
	*server
	view
	begin    begin
	pristine bool         // there never was a baseline
	listed   []int        // nodes that were put in the list, by place, and those that were named
	isListed map[int]bool // the same; nil until something is named
}

// look scans and finds the base.
func (o *operation) look(ctx context.Context, b begin) (state, error) {
	m, err := ignore.Parse(b.Patterns)
	if err != nil {
		return state{}, fault.New(fault.Protocol, "sync: %w", err)
	}
	if err := o.cfg.hold(ctx, o.openState); err != nil {
		return state{}, err
	}
	if err := o.cfg.unlinked(); err != nil {
		return state{}, err
	}
	if o.root, err = tree.OpenRoot(o.cfg.Root); err != nil {
		return state{}, fault.New(fault.RemoteFile, "sync: the work folder on the machine: %w", err)
	}
	known, err := o.store.Load()
	if err != nil {
		return state{}, err
	}
	o.pristine, o.begin, o.times = !known.Committed, b, !b.Up
	if len(known.Generations) > 0 {
		o.last = known.Generations[0]
	}
	st := state{Pristine: o.pristine}
	for _, raw := range b.Bases[:min(len(b.Bases), maxBases)] {
		if g, ok := generation(known, raw); ok {
			o.base, st.Base = g, raw
			break
		}
	}
	if st.Base != nil {
		if st.Believed, err = o.store.Believed(o.cfg.Root, o.base.ID); err != nil {
			return state{}, err
		}
	}
	if o.ways == nil {
		w, err := names.Probe(o.root, tree.TempPrefix+"far-")
		if err != nil {
			return state{}, err
		}
		o.ways = &w
	}
	st.Ways = *o.ways
	raw, err := scan(ctx, o.root, m, o.sweep)
	if err != nil {
		return state{}, err
	}
	return st, o.relate(ctx, raw)
}

// openState opens the baseline, and makes this session the one that may write.
func (o *operation) openState() (err error) {
	if o.store, err = baseline.Open(o.cfg.StateDir); err != nil {
		return err
	}
	o.ticket, err = draw(o.cfg.StateDir)
	return err
}

// generation returns the one with an ID that came from the other side.
func generation(known baseline.State, raw []byte) (baseline.Generation, bool) {
	if len(raw) != len(baseline.ID{}) {
		return baseline.Generation{}, false
	}
	return known.Find(baseline.ID(raw))
}

// sweep removes what an earlier session left. A name that only looks like a
// temporary file of ours, because it is a folder, stays.
func (o *operation) sweep(at *tree.Folder, name string) error {
	fi, err := at.Lstat(name)
	if err != nil || fi.IsDir() {
		return nil // gone, or not ours
	}
	if err := at.Remove(name); err != nil {
		o.cfg.Log.Warn("cannot remove a temporary file", "path", tree.Join(at.Path, name), "error", err)
	}
	return nil
}

// answer does what the near side asks for until the operation is over.
func (o *operation) answer(ctx context.Context) error {
	var places []uint32
	asked := map[uint32]bool{}
	for {
		f, err := o.recv()
		if err != nil {
			return err
		}
		switch f.Type {
		case typeNothing:
			if err := o.refresh(); err != nil {
				o.cfg.Log.Warn("cannot refresh the baseline", "error", err)
			}
			o.settled(baseline.Generation{ID: o.base.ID, Nodes: o.kept})
			return nil
		case typeAsk:
			var q ask
			if err := decode(f, "what is asked for", &q); err != nil {
				return err
			}
			if err := o.listAlso(q.Names); err != nil {
				return err
			}
			if err := o.checkPlaces(q.Places, asked); err != nil {
				return err
			}
			places = append(places, q.Places...)
			if q.More {
				continue
			}
			if err := o.tell(ctx, q.Contents, places); err != nil {
				return err
			}
			places = nil
			clear(asked)
		case typeBlock, typePacked, typeEnd:
			return o.take(ctx, f)
		default:
			return unexpected("a question or a stream", byte(f.Type))
		}
	}
}

// settled notes what a run that follows begins with. A note that cannot be
// written leaves one of an older generation, which believes no loss.
func (o *operation) settled(g baseline.Generation) {
	if !o.begin.Up || g.ID == (baseline.ID{}) {
		return
	}
	if err := o.store.Settled(g); err != nil {
		o.cfg.Log.Warn("cannot note what a run begins with", "error", err)
	}
}

// listAlso gives files that are as in the base places behind those of the list.
func (o *operation) listAlso(names []string) error {
	if len(names) > 0 && o.isListed == nil {
		o.isListed = make(map[int]bool, len(o.listed))
		for _, i := range o.listed {
			o.isListed[i] = true
		}
	}
	for _, name := range names {
		i, ok := tree.Find(o.nodes, name)
		if !ok || o.nodes[i].Kind != tree.File || o.isListed[i] {
			return fault.New(fault.Protocol, "sync: asked for %q, which is no file here, or is in the list", sanitize.Line(name, maxWhy))
		}
		o.isListed[i] = true
		o.listed = append(o.listed, i)
	}
	return nil
}

// checkPlaces holds what is asked for, in any order, against what was listed.
func (o *operation) checkPlaces(places []uint32, asked map[uint32]bool) error {
	for _, p := range places {
		if int(p) >= len(o.listed) || o.nodes[o.listed[p]].Kind != tree.File || asked[p] {
			return fault.New(fault.Protocol, "sync: asked for entry %d of %d, which is no file, or for the second time", p, len(o.listed))
		}
		asked[p] = true
	}
	return nil
}

// tell answers a question: digests in a list, contents in a stream.
func (o *operation) tell(ctx context.Context, contents bool, places []uint32) error {
	if contents {
		return o.sendContents(ctx, places)
	}
	todo := make([]int, 0, len(places))
	for _, p := range places {
		if i := o.listed[p]; !o.nodes[i].Digest.Known() {
			todo = append(todo, i)
		}
	}
	if err := tree.Sum(ctx, o.root, o.nodes, todo, workers()); err != nil {
		return o.send(typeEnd, end{Fault: wire.FaultOf(there.fault(err))})
	}
	return o.sendList(func(to *pack.Lister) error {
		for _, p := range places {
			n := &o.nodes[o.listed[p]]
			rec := pack.Record{Kind: pack.Have, Entry: n.Entry}
			switch {
			case n.Gone:
				rec = pack.Record{Kind: pack.Skip, Path: n.Path}
			case n.Closed != "":
				rec = pack.Record{Kind: pack.Skip, Path: n.Path, Why: n.Closed}
			}
			if err := to.Put(&rec); err != nil {
				return err
			}
		}
		return nil
	})
}

// sendContents sends files to the near side. That it may not want the rest is
// no error here.
func (o *operation) sendContents(ctx context.Context, places []uint32) error {
	p := pack.Packer{Root: o.root, Readers: workers(), Gauge: &pack.Gauge{}, Read: func(it pack.Item) {
		if n, ok := o.node(it.Node.Path); ok && it.Err == nil {
			*n = it.Node
		}
	}}
	items := make([]pack.Item, 0, len(places))
	for _, place := range places {
		items = append(items, pack.Item{Kind: pack.Write, Node: o.nodes[o.listed[place]]})
	}
	_, err := o.sendStream(ctx, nil, there.fault, func(ctx context.Context, send func(pack.Block) error) error {
		return p.Pack(ctx, fromSlice(items), send)
	})
	if fault.Is(err, fault.Unreachable) || fault.Is(err, fault.Protocol) || ctx.Err() != nil {
		return err
	}
	return nil // the near side has heard it, or said it
}
