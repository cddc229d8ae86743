package spool_test

import (
	"bytes"
	"os"
	"syscall"
	"testing"

	"outrigger.dev/outrigger/internal/agent/spool"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

func TestFullDiskLosesNoByte(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	l, err := spool.Create(dir+"/log", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := random(3 << 20)
	if err := l.Append(t.Context(), wire.RecordStdout, want[:2<<20]); err != nil {
		t.Fatal(err)
	}
	if err := l.Broken(); !fault.Is(err, fault.DiskFull) {
		t.Errorf("broken: %v, want DiskFull", err)
	}
	if err := l.Append(t.Context(), wire.RecordStdout, want[2<<20:]); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, l, 0), want) {
		t.Error("what is read differs from what was appended")
	}
	half := l.Span().End - 1<<20
	if err := l.Ack(half); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	if n, err := l.ReadAt(buf, half); err != nil || n != len(buf) {
		t.Errorf("read %d bytes after an acknowledgement in memory, %v; want %d", n, err, len(buf))
	}
}
