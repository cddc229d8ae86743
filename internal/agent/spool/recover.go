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
		n, err := whole(f)
		if err != nil {
			return nil, errors.Join(fault.New(fault.RemoteFile, "spool: %w", err), f.Close(), l.Close())
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

// whole returns how many bytes of f are whole records.
func whole(f *os.File) (int64, error) {
	var d wire.RecordDecoder
	var n int64
	buf := make([]byte, 64<<10)
	for {
		read, err := f.Read(buf)
		if err != nil && err != io.EOF {
			return 0, err
		}
		_, _ = d.Write(buf[:read]) // never fails
		for {
			_, size, ok, derr := d.Next()
			if derr != nil {
				return n, nil // not a record: torn
			}
			if !ok {
				break
			}
			n += int64(size)
		}
		if err == io.EOF {
			return n, nil
		}
	}
}
