package spool_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"testing"

	"outrigger.dev/outrigger/internal/agent/spool"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// content decodes what the log holds from p on.
func content(t *testing.T, l *spool.Log, p wire.Pos) []byte {
	t.Helper()
	var d wire.RecordDecoder
	var got []byte
	buf := make([]byte, 10_000)
	for p < l.Span().End {
		n, err := l.ReadAt(buf, p)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = d.Write(buf[:n]) // never fails
		p += wire.Pos(n)
	}
	for {
		r, _, ok, err := d.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return got
		}
		got = append(got, r.Payload...)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

func create(t *testing.T, dir string, limit int64) *spool.Log {
	t.Helper()
	l, err := spool.Create(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestAcknowledgedSegmentsLeaveTheDisk(t *testing.T) {
	dir := t.TempDir()
	l := create(t, dir, 0)
	want := random(20 << 20)
	if err := l.Append(t.Context(), wire.RecordStdout, want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, l, 0), want) {
		t.Error("what is read differs from what was appended")
	}
	files := func() int {
		names, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	if n := files(); n < 4 {
		t.Errorf("%d segments hold 20 MiB, want several", n)
	}
	if err := l.Ack(l.Span().End); err != nil {
		t.Fatal(err)
	}
	if n := files(); n != 1 {
		t.Errorf("%d segments after everything was acknowledged, want 1", n)
	}
	if _, err := l.ReadAt(make([]byte, 1), 0); !fault.Is(err, fault.RunLost) {
		t.Errorf("read of what is gone: %v, want RunLost", err)
	}
	if err := l.Ack(l.Span().End + 1); !fault.Is(err, fault.Protocol) {
		t.Errorf("acknowledging what was never sent: %v, want Protocol", err)
	}
}

func TestAppendWaitsAtTheLimit(t *testing.T) {
	l := create(t, t.TempDir(), 1000)
	if err := l.Append(t.Context(), wire.RecordStdout, random(1000)); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := l.Append(ended, wire.RecordStdout, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Fatalf("append to a full log: %v, want to wait until the context ends", err)
	}
	done := make(chan error)
	go func() { done <- l.Append(t.Context(), wire.RecordStdout, []byte("x")) }()
	if err := l.Ack(1000); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go func() { done <- l.Append(t.Context(), wire.RecordStdout, random(5000)) }()
	l.Unlimit()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestTornTailIsCutAtTheLastWholeRecord(t *testing.T) {
	want := random(5 << 20)
	for _, tear := range []int64{1, 3, 4, 5, 70_000} {
		dir := t.TempDir()
		l := create(t, dir, 0)
		for i := 0; i < len(want); i += 1000 {
			if err := l.Append(t.Context(), wire.RecordStdout, want[i:min(i+1000, len(want))]); err != nil {
				t.Fatal(err)
			}
		}
		names, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		last := names[len(names)-1]
		info, err := os.Stat(last)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(last, info.Size()-tear); err != nil {
			t.Fatal(err)
		}
		again, err := spool.Recover(dir)
		if err != nil {
			t.Fatal(err)
		}
		got := content(t, again, 0)
		if !bytes.HasPrefix(want, got) || len(want)-len(got) > int(tear)+1000 {
			t.Errorf("torn by %d: %d of %d bytes came back", tear, len(got), len(want))
		}
		if err := again.Append(t.Context(), wire.RecordExit, []byte("end")); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content(t, again, 0), append(got, "end"...)) {
			t.Error("a record after the cut is not where it belongs")
		}
		again.Close()
	}
}

// FuzzRecover holds that no bytes on disk make Recover panic, and that what it
// keeps is whole records.
func FuzzRecover(f *testing.F) {
	f.Add(wire.AppendRecord(wire.AppendRecord(nil, wire.RecordStdout, []byte("abc")), wire.RecordStderr, []byte("d")))
	f.Add([]byte{1, 0, 0, 200, 1})
	f.Add(binary.BigEndian.AppendUint32(nil, 0xffffffff))
	f.Fuzz(func(t *testing.T, in []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "0000000000000000.log"), in, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := spool.Recover(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		content(t, l, 0)
		if l.Span().End > wire.Pos(len(in)) {
			t.Errorf("%d bytes kept of %d", l.Span().End, len(in))
		}
	})
}
