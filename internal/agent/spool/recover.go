package spool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/rawpath"
	"outrigger.dev/outrigger/internal/wire"
)

// Recover opens the log that a process left in dir when it died. What was torn
// off, or does not follow what is before it, is cut off.
func Recover(dir string) (*Log, error) {
	names, err := rawpath.Glob(dir, "*.log")
	if err != nil {
		return nil, fault.New(fault.RemoteFile, "spool: %w", err)
	}
	sort.Strings(names)
	l := &Log{dir: dir, limit: DefaultLimit, changed: make(chan struct{})}
	for i, name := range names {
		start, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".log"), 16, 64)
		if err != nil || i > 0 && wire.Pos(start) != l.end {
			break // there is a hole, so nothing behind it can be sent
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return nil, errors.Join(fault.New(fault.RemoteFile, "spool: %w", err), l.Close())
		}
		n, last, err := whole(f)
		if err == nil {
			// What is appended later is shorter than what was torn off, whose rest would
			// then stand behind it.
			err = f.Truncate(n)
		}
		if err != nil {
			return nil, errors.Join(fault.New(fault.RemoteFile, "spool: %w", err), f.Close(), l.Close())
		}
		if n > 0 {
			l.last = last
		}
		if i == 0 {
			l.acked = wire.Pos(start)
		}
		l.end = wire.Pos(start + n)
		l.segments = append(l.segments, segment{wire.Pos(start), l.end, f})
	}
	if len(l.segments) == 0 {
		return nil, fault.New(fault.RunLost, "spool: no output log in %s", dir)
	}
	return l, nil
}

// whole returns how many bytes of f are whole records, and the kind of the last.
func whole(f *os.File) (n int64, last wire.RecordKind, err error) {
	var d wire.RecordDecoder
	buf := make([]byte, 64<<10)
	for {
		read, err := f.Read(buf)
		if err != nil && err != io.EOF {
			return 0, 0, err
		}
		_, _ = d.Write(buf[:read]) // never fails
		for {
			r, size, ok, derr := d.Next()
			if derr != nil || ok && !output(r.Kind) {
				return n, last, nil // not a record of ours: torn
			}
			if !ok {
				break
			}
			n, last = n+int64(size), r.Kind
		}
		if err == io.EOF {
			return n, last, nil
		}
	}
}

// output tells whether an output log has records of that kind. A file whose end was never
// written, as after a power cut, ends in zeros.
func output(k wire.RecordKind) bool {
	return k == wire.RecordStdout || k == wire.RecordStderr || k == wire.RecordExit
}
