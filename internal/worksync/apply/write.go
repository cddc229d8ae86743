package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/zeebo/blake3"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// job is a small file to write.
type job struct {
	entry   tree.Entry
	seen    *tree.Node
	content []byte
	turn    int64
}

// Write writes a file whose content is at hand. Content must not change until
// Finish; e.Digest must be that of content.
func (a *Applier) Write(e tree.Entry, content []byte) error {
	if int64(len(content)) != e.Size {
		return fmt.Errorf("%w: %q: %d bytes of %d", tree.ErrCodec, e.Path, len(content), e.Size)
	}
	if err := a.failed(); err != nil {
		return err
	}
	if a.blocked(e.Path) {
		return nil
	}
	j := job{entry: e, seen: a.expected(e.Path), content: content}
	if a.turns != nil {
		j.turn = a.turns.draw()
	}
	select {
	case a.jobs <- j:
		return nil
	case <-a.ended:
		return a.failed()
	}
}

// blocked tells whether a file cannot come because of what was left.
func (a *Applier) blocked(path string) bool { return a.holdsLeft(path) || a.skips(path) }

func (a *Applier) work(ctx context.Context, jobs <-chan job) error {
	cursor := tree.NewCursor(a.cfg.Root)
	defer cursor.Close()
	for {
		select {
		case j, ok := <-jobs:
			if !ok {
				return nil
			}
			err := a.leave(j.entry.Path, false, a.writeSmall(cursor, j))
			if a.turns != nil {
				a.turns.done(j.turn)
			}
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *Applier) writeSmall(cursor *tree.Cursor, j job) error {
	if got := tree.Digest(blake3.Sum256(j.content)); got != j.entry.Digest {
		return fmt.Errorf("%w: %q: content has digest %v, want %v", tree.ErrCodec, j.entry.Path, got, j.entry.Digest)
	}
	at, err := cursor.Folder(tree.Parent(j.entry.Path))
	if err != nil {
		return err
	}
	if a.inPlace(j.entry, j.seen) {
		if err := a.await(j.turn); err != nil {
			return err
		}
	}
	t, err := a.create(at, j.entry, j.seen)
	if err != nil {
		return err
	}
	if _, err := t.file.Write(j.content); err != nil {
		return errors.Join(at.At("write", tree.Name(j.entry.Path), err), t.discard())
	}
	a.bytes.Add(j.entry.Size)
	if err := a.await(j.turn); err != nil {
		return errors.Join(err, t.discard())
	}
	return a.commit(t, j.entry)
}

// tempFile is a file that may not have its name yet.
type tempFile struct {
	at   *tree.Folder
	file *os.File
	name string
	seen *tree.Node
	// inPlace: what is written is the file itself, which cannot be replaced.
	inPlace bool
}

func (a *Applier) create(at *tree.Folder, e tree.Entry, seen *tree.Node) (*tempFile, error) {
	t := &tempFile{at: at, name: tree.Name(e.Path), seen: seen}
	if a.inPlace(e, seen) {
		return t, a.overwrite(t)
	}
	if !a.cfg.Fresh || seen != nil {
		t.name = a.tempName()
	}
	err := a.within(at, func() error {
		var err error
		t.file, err = at.Root.OpenFile(t.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(e.Mode&0o777))
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		err = errAppeared
	}
	if err != nil {
		return nil, at.At("write", tree.Name(e.Path), err)
	}
	return t, nil
}

// inPlace tells whether a file cannot be replaced, so that it is seen while it is written.
func (a *Applier) inPlace(e tree.Entry, seen *tree.Node) bool {
	return a.cfg.Fixed[e.Path] && seen != nil
}

// await waits for a small file's turn.
func (a *Applier) await(turn int64) error {
	if a.turns == nil {
		return nil
	}
	return a.turns.await(turn)
}

// overwrite opens a file that is fixed in its place.
func (a *Applier) overwrite(t *tempFile) error {
	t.inPlace = true
	err := verify(t.at, t.name, t.seen)
	if err == nil {
		t.file, err = t.at.Root.OpenFile(t.name, os.O_WRONLY|os.O_TRUNC, 0)
	}
	return t.at.At("write", t.name, err)
}

func (t *tempFile) discard() error {
	_ = t.file.Close() // it is being thrown away, or closed already
	if t.inPlace {
		return nil
	}
	return t.at.Remove(t.name)
}

// commit gives the file its time, name and mode.
func (a *Applier) commit(t *tempFile, e tree.Entry) error {
	name := tree.Name(e.Path)
	err := t.file.Close()
	if err == nil {
		err = t.at.Chtimes(t.name, time.Time{}, time.Unix(0, e.MTime))
	}
	if t.inPlace && errors.Is(err, fs.ErrPermission) {
		err = nil // somebody else's file, which we may write to and no more
	}
	if err == nil && t.name != name {
		if err = verify(t.at, name, t.seen); err == nil {
			err = rename(t.at, t.name, name)
		}
	}
	if err != nil {
		return errors.Join(t.at.At("write", name, err), t.discard())
	}
	stamp, err := a.dress(t, name, e)
	if err != nil {
		return t.at.At("write", name, err)
	}
	a.record(tree.Node{Entry: e, Stamp: stamp})
	a.files.Add(1)
	return nil
}

// dress makes sure of the mode, from which the umask may have taken bits, and
// that the file is still the one that was written.
func (a *Applier) dress(t *tempFile, name string, e tree.Entry) (tree.Stamp, error) {
	at := t.at
	fi, err := at.Lstat(name)
	if err == nil && !t.inPlace && tree.ModeBits(fi.Mode()) != e.Mode && !a.cfg.Ways.NoModes {
		if err = a.chmod(at, name, tree.FileMode(e.Mode)); err == nil {
			fi, err = at.Lstat(name)
		}
	}
	if err != nil {
		return tree.Stamp{}, err
	}
	stamp := tree.StampOf(fi, time.Now())
	if !fi.Mode().IsRegular() || stamp.Size != e.Size || !t.inPlace && !near(stamp.MTime, e.MTime) {
		return tree.Stamp{}, errMeanwhile
	}
	return stamp, nil
}

// near allows for file systems that round times; FAT counts by two seconds.
func near(got, want int64) bool {
	d := got - want
	return -int64(2*time.Second) <= d && d <= int64(2*time.Second)
}

// bigFile is a file whose content comes in several pieces.
type bigFile struct {
	*tempFile              // nil: it was left, and what comes of it is dropped
	cursor    *tree.Cursor // of its own, so that at stays open
	entry     tree.Entry
	hash      *blake3.Hasher
	size      int64
	hole      bool // it ends in zeros that were not written
}

// write appends to the file. Of zeros it makes a hole, as large as they are: the image of a disk that is
// mostly empty takes no more room than it did where it came from.
func (b *bigFile) write(content []byte) error {
	if b.hole = allZero(content); b.hole {
		return nil
	}
	_, err := b.file.WriteAt(content, b.size)
	return err
}

// end makes the file as large as it is, if it ends in a hole.
func (b *bigFile) end() error {
	if !b.hole {
		return nil
	}
	return b.file.Truncate(b.size)
}

func allZero(b []byte) bool {
	return len(b) > 0 && b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

func (b *bigFile) discard() error {
	if b.tempFile == nil {
		return nil
	}
	defer b.cursor.Close()
	return b.tempFile.discard()
}

// Begin starts a file whose content follows in pieces.
func (a *Applier) Begin(e tree.Entry) error {
	if err := a.failed(); err != nil {
		return err
	}
	if a.open != nil {
		return fmt.Errorf("%w: %q begins inside of %q", tree.ErrCodec, e.Path, a.open.entry.Path)
	}
	a.open = &bigFile{entry: e, hash: blake3.New()}
	if a.blocked(e.Path) {
		return nil
	}
	err := a.begin(a.open)
	if err != nil && !tree.Local(err) {
		a.open = nil
	}
	return a.leave(e.Path, false, err)
}

func (a *Applier) begin(b *bigFile) error {
	if a.inPlace(b.entry, a.expected(b.entry.Path)) {
		if err := a.Settle(); err != nil {
			return err
		}
	}
	cursor := tree.NewCursor(a.cfg.Root)
	at, err := cursor.Folder(tree.Parent(b.entry.Path))
	if err == nil {
		b.tempFile, err = a.create(at, b.entry, a.expected(b.entry.Path))
	}
	if err != nil {
		b.tempFile = nil
		cursor.Close()
		return err
	}
	b.cursor = cursor
	return nil
}

// errNoFile is a piece of a file that never began.
var errNoFile = fmt.Errorf("%w: piece of no file", tree.ErrCodec)

// Piece appends to the file that began, never more than was announced.
func (a *Applier) Piece(content []byte) error {
	if a.open == nil {
		return errNoFile
	}
	if err := a.failed(); err != nil {
		return err
	}
	if want := a.open.entry.Size; int64(len(content)) > want-a.open.size {
		return fmt.Errorf("%w: %q: more than the %d bytes that were announced", tree.ErrCodec, a.open.entry.Path, want)
	}
	if a.open.tempFile == nil {
		a.open.size += int64(len(content))
		return nil
	}
	if err := a.open.write(content); err != nil {
		err = a.open.at.At("write", tree.Name(a.open.entry.Path), err)
		if !tree.Local(err) {
			return err
		}
		err = errors.Join(err, a.open.discard())
		a.open.tempFile = nil
		return a.leave(a.open.entry.Path, false, err)
	}
	_, _ = a.open.hash.Write(content) // a hash never fails
	a.open.size += int64(len(content))
	a.bytes.Add(int64(len(content)))
	return nil
}

// Drop throws away the file that began; it begins again or does not come at all.
func (a *Applier) Drop() error {
	if a.open == nil {
		return errNoFile
	}
	b := a.open
	a.open = nil
	a.bytes.Add(-b.size)
	return b.discard()
}

// End completes the file that began. Its size and time are as they were when
// it was read to the end.
func (a *Applier) End(e tree.Entry) error {
	if a.open == nil || a.open.entry.Path != e.Path {
		return errNoFile
	}
	b := a.open
	a.open = nil
	if b.tempFile == nil {
		return nil
	}
	defer b.cursor.Close()
	var got tree.Digest
	b.hash.Sum(got[:0])
	if got != e.Digest || b.size != e.Size {
		return errors.Join(fmt.Errorf("%w: %q: %d bytes with digest %v, want %d with %v", tree.ErrCodec, e.Path, b.size, got, e.Size, e.Digest), b.tempFile.discard())
	}
	if err := b.end(); err != nil {
		return a.leave(e.Path, false, errors.Join(b.at.At("write", tree.Name(e.Path), err), b.tempFile.discard()))
	}
	if err := a.Settle(); err != nil {
		return errors.Join(err, b.tempFile.discard())
	}
	return a.leave(e.Path, false, a.commit(b.tempFile, e))
}
