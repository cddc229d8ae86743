package parcel_test

import (
	"archive/tar"
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/parcel"
	"outrigger.dev/outrigger/internal/wire"
)

// squeezed is a parcel of one file of zeros, as no honest sender compresses it.
func squeezed(t *testing.T, size int64, o ...zstd.EOption) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw, err := zstd.NewWriter(&buf, o...)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(zw)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "report", Size: size, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for left := size; left > 0; left -= int64(len(zeros)) {
		if _, err := w.Write(zeros[:min(left, int64(len(zeros)))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// answered is what Get says of a machine that answers with these bytes, and what is in the folder afterwards.
func answered(t *testing.T, stream []byte) (left []os.DirEntry, err error) {
	t.Helper()
	near, far := net.Pipe()
	conn := wire.NewConn(near)
	done := make(chan struct{})
	go func() {
		defer close(done)
		peer := wire.NewConn(far)
		defer peer.Close()
		if peer.Respond(struct{}{}, nil) == nil {
			_ = peer.SendBytes(128, stream) // who gets it may have gone
		}
	}()
	dst := t.TempDir()
	_, err = parcel.Get(t.Context(), conn, dst, parcel.Options{Side: fault.LocalFile, Asked: "report"})
	conn.Close()
	<-done
	left, rerr := os.ReadDir(dst)
	if rerr != nil {
		t.Fatal(rerr)
	}
	return left, err
}

// What comes out of little is little: neither the disk nor the memory is filled.
func TestLittleDoesNotBecomeMuch(t *testing.T) {
	for name, stream := range map[string][]byte{
		"a large file":   squeezed(t, 200<<20),
		"a large window": squeezed(t, 100<<20, zstd.WithWindowSize(64<<20)),
	} {
		left, err := answered(t, stream)
		if !fault.Is(err, fault.Protocol) {
			t.Errorf("%s: %d bytes: got %v, want a Protocol fault", name, len(stream), err)
		}
		for _, e := range left {
			// A file that was whole when the stream was refused stays, as from any stream that breaks.
			if info, err := e.Info(); err != nil || e.Name() != "report" || info.Size() > 64<<20 {
				t.Errorf("%s: left %v, %v", name, info, err)
			}
		}
	}
}

// An honest machine may send what is nearly nothing, such as the image of an empty disk.
func TestEmptyDisksAreCopied(t *testing.T) {
	const size = 200<<20 + 17
	src, dst := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	if err := os.WriteFile(src, []byte("boot"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(src, size); err != nil {
		t.Fatal(err)
	}
	conn := serve(t)
	if err := conn.SendRequest(parcel.MethodPack, parcel.Request{Name: src}); err != nil {
		t.Fatal(err)
	}
	if _, err := parcel.Get(t.Context(), conn, dst, parcel.Options{Side: fault.LocalFile, Asked: src}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dst, "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, 5)
	if _, err := io.ReadFull(f, head); err != nil || string(head) != "boot\x00" {
		t.Errorf("begins with %q, %v", head, err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		t.Errorf("%v, %v, want %d bytes", info, err, size)
	}
}

func TestEntriesAreCounted(t *testing.T) {
	stream := stream(t, "dir a", "dir a/b", "file a/b/c", "link a/d b")
	for most, want := range map[int]string{4: "", 3: "more than 3 entries", 1: "more than 1 entries"} {
		_, err := parcel.UnpackMost(t.Context(), bytes.NewReader(stream), t.TempDir(), parcel.Options{Side: fault.LocalFile}, most)
		if got := fault.Is(err, fault.Protocol); got != (want != "") || got && !strings.Contains(err.Error(), want) {
			t.Errorf("at most %d: %v, want %q", most, err, want)
		}
	}
}
