// Package apply carries out the steps of a plan in a folder.
//
// Nothing is trusted: neither the paths, which came from the other side and are
// opened component by component without following links, nor the folder, in
// which somebody may be working at the same time. Before anything is replaced
// or removed it is looked at again, and if it is not what the scan saw, it is left
// as it is ([tree.ErrChanged]). So is whatever the system refuses to have changed.
// The other steps go on without those that need what was left. A file is written under a temporary name in its
// own folder and renamed, so it is there whole or not at all (but see Config.Fresh).
//
// Steps must come so that each finds what it needs: deletions that make room first, folders
// before what is in them. Small files are written by a few workers; everything else happens
// in the caller's goroutine, so the order that matters is kept.
package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"outrigger.dev/outrigger/internal/worksync/names"
	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Config says where to apply and what is known of the place.
type Config struct {
	Root *tree.Folder
	Seen []tree.Node // what the scan saw, in walk order
	Tag  string      // goes into the names of temporary files
	Ways names.Ways  // of the root; only what it cannot hold matters here
	// Fresh says that nothing below Root counts before the end: then files that
	// are new are written under their own names at once, which spares a third
	// of the system's work.
	Fresh bool
	// Fixed are paths that something holds in place, such as mount points: they
	// are neither removed nor replaced, a file is written in place, and a mode
	// that cannot be set is left as it is.
	Fixed map[string]bool
	// Workers is how many goroutines write small files.
	Workers int
	// Ordered makes each step visible when all before it are: small files are still written by
	// the workers, but get their names one after the other.
	Ordered bool
}

// Counts is what has been done so far.
type Counts struct {
	Files, Dirs, Links, Deleted, Metas int64
	Bytes                              int64 // of content
}

// An Applier carries out steps. Its methods are for one goroutine, but for
// Counts. After the first error every method returns it; Close must be called
// in any case.
type Applier struct {
	cfg    Config
	cursor *tree.Cursor
	group  *errgroup.Group
	ended  <-chan struct{} // closed with the first error of a worker
	why    func() error    // it ended
	jobs   chan job
	serial atomic.Int64 // numbers temporary names
	turns  *turns       // nil: files get their names as they are written

	files, dirs, links, deleted, metas, bytes atomic.Int64

	gone map[string]bool // removed by a step, so no longer expected
	kept map[string]bool // folders that could not go because of what they hold

	open *bigFile

	mu      sync.Mutex // guards what follows
	left    []Left
	missing map[string]bool // folders that were left, so that nothing can be in them
	around  map[string]bool // the folders around what was left
	done    []tree.Node
	late    map[string]fs.FileMode // modes of folders that must wait
	times   map[string]int64       // of folders in which something changes, as they are to be at the end

	warned   sync.Mutex // guards warnings
	warnings []string
}

// New starts the workers. Cancelling ctx ends them.
func New(ctx context.Context, cfg Config) *Applier {
	jobs := make(chan job, 4*cfg.Workers)
	a := &Applier{cfg: cfg, cursor: tree.NewCursor(cfg.Root), jobs: jobs, gone: map[string]bool{}, kept: map[string]bool{},
		late: map[string]fs.FileMode{}, times: map[string]int64{}, missing: map[string]bool{}, around: map[string]bool{}}
	a.group, ctx = errgroup.WithContext(ctx)
	a.ended, a.why = ctx.Done(), func() error { return context.Cause(ctx) }
	if cfg.Ordered {
		a.turns = newTurns(ctx)
	}
	for range cfg.Workers {
		a.group.Go(func() error { return a.work(ctx, jobs) })
	}
	return a
}

// Counts may be called at any time.
func (a *Applier) Counts() Counts {
	return Counts{Files: a.files.Load(), Dirs: a.dirs.Load(), Links: a.links.Load(), Deleted: a.deleted.Load(), Metas: a.metas.Load(), Bytes: a.bytes.Load()}
}

// Result is what an applier leaves.
type Result struct {
	// Done are the entries as they are now, one for each step that was taken but deletions.
	Done []tree.Node
	// Kept is what should have gone and is still there.
	Kept     map[string]bool
	Left     []Left
	Warnings []string
}

// A Left is a step that could not be taken.
type Left struct {
	Path string
	Err  error
}

// one takes a step at path, unless that needs something that was left. If the
// path is what is to blame for an error, it is left.
func (a *Applier) one(path string, step func() error) error {
	if err := a.Settle(); err != nil {
		return err
	}
	if a.skips(path) {
		return nil
	}
	return a.leave(path, false, step())
}

// Settle waits, if steps are taken in order, until all files that were given to Write have their names.
func (a *Applier) Settle() error {
	if a.turns != nil {
		a.turns.settle()
	}
	return a.failed()
}

// leave notes that a step failed, and returns the error if everything ends with it.
func (a *Applier) leave(path string, missing bool, err error) error {
	if err == nil || !tree.Local(err) {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = append(a.left, Left{path, err})
	a.around[path] = true
	for dir := tree.Parent(path); dir != ""; dir = tree.Parent(dir) {
		a.around[dir] = true
	}
	if missing {
		a.missing[path] = true
	}
	return nil
}

// skips tells whether a step at path would be in a folder that is missing.
func (a *Applier) skips(path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.missing) == 0 {
		return false
	}
	for dir := path; dir != ""; dir = tree.Parent(dir) {
		if a.missing[dir] {
			return true
		}
	}
	return false
}

// holdsLeft tells whether something in a folder was left, or it itself.
func (a *Applier) holdsLeft(path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.around[path]
}

// Finish waits until all is written and gives folders their final modes and times.
func (a *Applier) Finish() (Result, error) {
	if a.open != nil {
		return Result{}, fmt.Errorf("%w: %q has no end", tree.ErrCodec, a.open.entry.Path)
	}
	if err := a.stop(); err != nil {
		return Result{}, err
	}
	if err := a.setLate(); err != nil {
		return Result{}, err
	}
	// Whatever was written was so a moment ago. Only what is still fresh now can
	// change from here on without its stamp showing it.
	now := time.Now()
	for i := range a.done {
		if n := &a.done[i]; n.Kind == tree.File {
			n.Stamp = n.Stamp.At(now)
		}
	}
	return Result{a.done, a.kept, a.left, a.warnings}, nil
}

// Close ends what Finish did not: workers, temporary files, modes of folders
// that were made writable for a while.
func (a *Applier) Close() error {
	var errs []error
	if a.open != nil {
		errs = append(errs, a.open.discard())
		a.open = nil
	}
	_ = a.stop() // the caller knows the first error already
	errs = append(errs, a.setLate())
	a.cursor.Close()
	return errors.Join(errs...)
}

// stop lets the workers finish what they were given; it may be called again.
func (a *Applier) stop() error {
	if a.jobs != nil {
		close(a.jobs)
		a.jobs = nil
	}
	return a.group.Wait()
}

// failed returns the error that ended the workers, if one did.
func (a *Applier) failed() error {
	select {
	case <-a.ended:
		why := a.why()
		if err := a.stop(); err != nil {
			return err
		}
		return why // the workers had nothing to do that could fail
	default:
		return nil
	}
}

// setLate sets the modes and times that waited, contents before their folders.
func (a *Applier) setLate() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	paths := make([]string, 0, len(a.late)+len(a.times))
	for path := range a.late {
		paths = append(paths, path)
	}
	for path := range a.times {
		if _, ok := a.late[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.SortFunc(paths, func(x, y string) int { return tree.Compare(y, x) })
	var errs []error
	final, undone := map[string]tree.Stamp{}, map[string]bool{}
	for _, path := range paths {
		stamp, err := a.setFolder(path)
		if _, hasMode := a.late[path]; !hasMode && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, tree.ErrNotFolder)) {
			continue // somebody else took it away meanwhile, and its time with it
		}
		if err != nil && tree.Local(err) {
			a.left = append(a.left, Left{path, err})
			undone[path] = true
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		final[path] = stamp
	}
	clear(a.late)
	clear(a.times)
	a.done = slices.DeleteFunc(a.done, func(n tree.Node) bool { return undone[n.Path] })
	for i := range a.done {
		if stamp, ok := final[a.done[i].Path]; ok {
			a.done[i].Stamp = stamp
		}
	}
	return errors.Join(errs...)
}

// setFolder gives a folder what waited for it.
func (a *Applier) setFolder(path string) (tree.Stamp, error) {
	mode, hasMode := a.late[path]
	if path == "" {
		return tree.Stamp{}, a.cfg.Root.At("set mode of", ".", a.cfg.Root.Chmod(".", mode))
	}
	at, err := a.cursor.Folder(tree.Parent(path))
	if err != nil {
		return tree.Stamp{}, err
	}
	name := tree.Name(path)
	fi, err := at.Lstat(name)
	if err == nil && !fi.IsDir() {
		err = tree.ErrNotFolder
	}
	if err == nil && hasMode {
		err = a.chmod(at, name, mode)
	}
	if mtime, ok := a.times[path]; err == nil && ok {
		err = at.Chtimes(name, time.Time{}, time.Unix(0, mtime))
		if errors.Is(err, fs.ErrPermission) {
			err = nil // somebody else's folder, in which we may write and no more
		}
	}
	if err == nil {
		fi, err = at.Lstat(name)
	}
	if err != nil {
		return tree.Stamp{}, at.At("set mode or time of", name, err)
	}
	return tree.StampOf(fi, time.Now()), nil
}

// specialBits are those of a mode that not everybody may set.
const specialBits = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// chmod sets a mode. What the system refuses of the special bits, or drops
// without a word because the file's group is not ours, is named in a warning.
func (a *Applier) chmod(at *tree.Folder, name string, mode fs.FileMode) error {
	err := at.Chmod(name, mode)
	if mode&specialBits == 0 || err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err != nil {
		if err := at.Chmod(name, mode&^specialBits); err != nil {
			return err
		}
	}
	fi, err := at.Lstat(name)
	if err == nil && fi.Mode()&specialBits != mode&specialBits {
		a.warn(fmt.Sprintf("%q: its setuid, setgid or sticky bit cannot be set; left out", tree.Join(at.Path, name)))
	}
	return err
}

func (a *Applier) warn(line string) {
	a.warned.Lock()
	defer a.warned.Unlock()
	a.warnings = append(a.warnings, line)
}

// touch is called before something in a folder is made, replaced or removed. It
// keeps the folder's time, so that our own work does not look like a change.
func (a *Applier) touch(at *tree.Folder) error {
	if at.Path == "" {
		return nil // the root is no entry
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.times[at.Path]; ok {
		return nil
	}
	fi, err := at.Stat(".")
	if err != nil {
		return at.At("look at", ".", err)
	}
	a.times[at.Path] = tree.StampOf(fi, time.Now()).MTime
	return nil
}

// setTime says what a folder's time is to be at the end.
func (a *Applier) setTime(e tree.Entry) {
	if e.MTime == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times[e.Path] = e.MTime
}

func (a *Applier) record(n tree.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = append(a.done, n)
}

// expected returns what the scan saw at path, nil if nothing should be there now.
func (a *Applier) expected(path string) *tree.Node {
	if a.gone[path] {
		return nil
	}
	i, ok := tree.Find(a.cfg.Seen, path)
	if !ok || a.cfg.Seen[i].Stamp.Absent {
		return nil
	}
	return &a.cfg.Seen[i]
}

func (a *Applier) tempName() string {
	return tree.TempPrefix + a.cfg.Tag + "-" + strconv.FormatInt(a.serial.Add(1), 36)
}

// verify looks whether name is still what the scan saw (nil: nothing).
func verify(at *tree.Folder, name string, want *tree.Node) error {
	fi, err := at.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if want == nil {
			return nil
		}
		err = errGone
	case err != nil:
	case want == nil:
		err = errAppeared
	default:
		err = same(at, name, fi, want)
	}
	return at.At("replace", name, err)
}

var (
	errGone     = fmt.Errorf("%w: it is gone", errMeanwhile)
	errAppeared = fmt.Errorf("%w: it was not there", errMeanwhile)
	// errMeanwhile is [tree.ErrChanged] for something that is not being read.
	errMeanwhile = fmt.Errorf("changed since the scan (%w)", tree.ErrChanged)
)

func same(at *tree.Folder, name string, fi fs.FileInfo, want *tree.Node) error {
	ok := false
	switch want.Kind {
	case tree.File:
		ok = fi.Mode().IsRegular() && tree.StampOf(fi, time.Now()).SameFile(want.Stamp)
	case tree.Dir:
		ok = fi.IsDir()
	case tree.Link:
		target, err := at.Readlink(name)
		ok = err == nil && tree.LinkTarget(target) == want.Target
	}
	if !ok {
		return errMeanwhile
	}
	return nil
}

// within runs do, which changes what is in a folder, and again after making the
// folder writable if that is what was missing.
func (a *Applier) within(at *tree.Folder, do func() error) error {
	if err := a.touch(at); err != nil {
		return err
	}
	err := do()
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	opened, lerr := a.unlock(at)
	if lerr != nil || !opened {
		return err
	}
	return do()
}

// unlock lets the owner write in a folder until the end.
func (a *Applier) unlock(at *tree.Folder) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fi, err := at.Stat(".")
	if err != nil {
		return false, err
	}
	mode := tree.FileMode(tree.ModeBits(fi.Mode()))
	if mode&0o700 == 0o700 {
		_, waits := a.late[at.Path] // another worker was first
		return waits, nil
	}
	if err := at.Chmod(".", mode|0o700); err != nil {
		return false, err
	}
	if _, waits := a.late[at.Path]; !waits {
		a.late[at.Path] = mode
	}
	return true, nil
}
