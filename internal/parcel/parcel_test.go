package parcel_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/parcel"
	"outrigger.dev/outrigger/internal/wire"
)

var then = time.Date(2020, 2, 3, 4, 5, 6, 123456700, time.UTC)

// write makes files: "dir/", "name", "link -> target".
func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		name, target, isLink := strings.Cut(n, " -> ")
		path := filepath.Join(dir, name)
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(n, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			if err = os.WriteFile(path, []byte("content of "+name), 0o644); err == nil {
				err = os.Chtimes(path, then, then)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// list shows a tree: a line each with kind, mode, content or target, and time of files.
func list(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(rel + " " + info.Mode().String())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			b.WriteString(" -> " + target)
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.WriteString(" " + string(content) + " " + info.ModTime().UTC().Format(time.RFC3339Nano))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func carry(t *testing.T, src, dst string) (parcel.Report, error) {
	t.Helper()
	var buf bytes.Buffer
	sent, err := parcel.Pack(t.Context(), &buf, src, parcel.Options{Side: fault.LocalFile})
	if err != nil {
		return sent, err
	}
	got, err := parcel.Unpack(t.Context(), &buf, dst, parcel.Options{Side: fault.RemoteFile})
	if err == nil && (sent.Files != got.Files || sent.Bytes != got.Bytes || sent.Dirs != got.Dirs || sent.Links != got.Links) {
		t.Errorf("packed %+v, unpacked %+v", sent, got)
	}
	return got, err
}

func TestAFolderArrivesAsItWas(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and links of Unix")
	}
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "tree/", "tree/empty/", "tree/sub/", "tree/sub/file", "tree/tool", "tree/sub/up -> ../tool", "tree/out -> /etc/passwd", "tree/dangling -> nowhere",
		"tree/"+strings.Repeat("long", 40), "tree/ünï \n cödé", "tree/bad\xff\xfeutf8", "tree/sealed/", "tree/sealed/in")
	for name, mode := range map[string]fs.FileMode{"tree/tool": 0o755, "tree/sub/file": 0o400, "tree/sealed": 0o500} {
		if err := os.Chmod(filepath.Join(src, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	got, err := carry(t, filepath.Join(src, "tree"), dst)
	if err != nil {
		t.Fatal(err)
	}
	if measured, err := parcel.Measure(t.Context(), filepath.Join(src, "tree")); err != nil || !cmp.Equal(measured, got) {
		t.Errorf("measured %+v, %v; carried %+v", measured, err, got)
	}
	if diff := cmp.Diff(list(t, src), list(t, dst)); diff != "" {
		t.Errorf("tree (-sent +received):\n%s", diff)
	}
	if got.Files != 6 || got.Links != 3 {
		t.Errorf("report %+v, want 6 files and 3 links", got)
	}
}

func TestWhereThingsGo(t *testing.T) {
	for _, tt := range []struct{ name, src, dst, want string }{
		{"a file into a folder", "file", "have", "have/file"},
		{"a file under a new name", "file", "new", "new"},
		{"a file over a file", "file", "old", "old"},
		{"a file into a folder that is not there", "file", "none/", "fault RemoteFile"},
		{"a file below a folder that is not there", "file", "none/file", "fault RemoteFile"},
		{"a folder into a folder", "tree", "have", "have/tree/in"},
		{"a folder under a new name", "tree", "new", "new/in"},
		{"a folder under a new name with a slash", "tree/", "new/", "new/in"},
		{"a folder over a file", "tree", "old", "fault RemoteFile"},
		{"a folder's contents into a folder", "tree/.", "have", "have/in"},
		{"a folder's contents as a new folder", "tree/.", "new", "new/in"},
		{"a link to a folder is that folder", "link", "new", "new/in"},
		{"nothing", "absent", "have", "fault LocalFile"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			write(t, src, "file", "tree/", "tree/in", "link -> tree")
			write(t, dst, "have/", "have/other", "old")
			_, err := carry(t, src+"/"+tt.src, dst+"/"+tt.dst)
			if kind, isFault := strings.CutPrefix(tt.want, "fault "); isFault {
				if string(fault.Of(err)) != kind {
					t.Errorf("got %v, want a fault of kind %s", err, kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(filepath.Join(dst, tt.want))
			if err != nil || !strings.HasPrefix(string(content), "content of ") {
				t.Errorf("%s: %q, %v; there is:\n%s", tt.want, content, err, list(t, dst))
			}
			if _, err := os.Stat(filepath.Join(dst, "have/other")); err != nil {
				t.Errorf("what was there is gone: %v", err)
			}
		})
	}
}

func TestABrokenParcelLeavesNoHalfFile(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "file")
	write(t, dst, "file")
	before := list(t, dst)
	var buf bytes.Buffer
	if _, err := parcel.Pack(t.Context(), &buf, filepath.Join(src, "file"), parcel.Options{}); err != nil {
		t.Fatal(err)
	}
	cut := bytes.Index(buf.Bytes(), []byte("content of")) + 5
	if _, err := parcel.Unpack(t.Context(), bytes.NewReader(buf.Bytes()[:cut]), dst, parcel.Options{Side: fault.LocalFile}); err == nil {
		t.Error("half a parcel was taken for a whole one")
	}
	if diff := cmp.Diff(before, list(t, dst)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

// serve answers requests at the far end of a real connection.
func serve(t *testing.T) *wire.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		defer ln.Close()
		c, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		conn := wire.NewConn(c)
		defer conn.Close()
		for {
			f, err := conn.Recv()
			if err != nil {
				done <- nil
				return
			}
			var req wire.Request
			if err := f.Decode(&req); err != nil {
				done <- err
				return
			}
			if err := parcel.Serve(context.WithoutCancel(t.Context()), conn, req); err != nil {
				done <- nil // the client went away, as some tests do
				return
			}
		}
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := wire.NewConn(c)
	t.Cleanup(func() {
		conn.Close()
		if err := <-done; err != nil {
			t.Errorf("agent: %v", err)
		}
	})
	return conn
}

func TestOverAConnectionAndBack(t *testing.T) {
	src, far, back := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, src, "tree/", "tree/file", "tree/empty/", "tree/link -> file")
	big := make([]byte, 5<<20+17)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range big {
		big[i] = byte(rng.Uint32())
	}
	if err := os.WriteFile(filepath.Join(src, "tree/big"), big, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(src, "tree/big"), then, then); err != nil {
		t.Fatal(err)
	}
	conn := serve(t)
	ask := func(method, name string) {
		t.Helper()
		if err := conn.SendRequest(method, parcel.Request{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	var told parcel.Report
	o := parcel.Options{Side: fault.LocalFile, Progress: func(r parcel.Report) { told = r }}

	ask(parcel.MethodUnpack, far)
	if r, err := parcel.Put(t.Context(), conn, filepath.Join(src, "tree"), o); err != nil || r.Files != 2 || told.Bytes != r.Bytes {
		t.Fatalf("put: %+v, %v; progress said %+v", r, err, told)
	}
	// The connection carries one request after the other, also after failures.
	ask(parcel.MethodPack, filepath.Join(far, "absent"))
	if _, err := parcel.Get(t.Context(), conn, back, o); !fault.Is(err, fault.RemoteFile) || !strings.Contains(err.Error(), "absent") {
		t.Errorf("get of nothing: %v, want a RemoteFile fault", err)
	}
	ask(parcel.MethodUnpack, filepath.Join(far, "none", "deeper"))
	if _, err := parcel.Put(t.Context(), conn, filepath.Join(src, "tree"), o); !fault.Is(err, fault.RemoteFile) {
		t.Errorf("put into nowhere: %v, want a RemoteFile fault", err)
	}
	ask(parcel.MethodUnpack, far)
	if _, err := parcel.Put(t.Context(), conn, filepath.Join(src, "absent"), o); !fault.Is(err, fault.LocalFile) {
		t.Errorf("put of nothing: %v, want a LocalFile fault", err)
	}
	o.Asked = filepath.Join(far, "tree")
	ask(parcel.MethodPack, o.Asked)
	if _, err := parcel.Get(t.Context(), conn, filepath.Join(back, "none", "deeper"), o); !fault.Is(err, fault.LocalFile) {
		t.Errorf("get into nowhere: %v, want a LocalFile fault", err)
	}
	conn.Close()

	conn = serve(t)
	if err := conn.SendRequest(parcel.MethodPack, parcel.Request{Name: filepath.Join(far, "tree")}); err != nil {
		t.Fatal(err)
	}
	if _, err := parcel.Get(t.Context(), conn, back, o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list(t, src), list(t, back)); diff != "" {
		t.Errorf("tree there and back differs: %d bytes of difference", len(diff))
	}
}

func TestALostConnectionIsAFaultOfItsOwn(t *testing.T) {
	near, far := net.Pipe()
	conn := wire.NewConn(near)
	defer conn.Close()
	go func() {
		peer := wire.NewConn(far)
		_ = peer.Respond(struct{}{}, nil)
		peer.Close()
	}()
	_, err := parcel.Get(t.Context(), conn, t.TempDir(), parcel.Options{Side: fault.LocalFile})
	if !fault.Is(err, fault.MachineLost) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want a MachineLost fault", err)
	}
}

func TestWhatCannotBeCarriedIsNamed(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "tree/", "tree/file")
	ln, err := net.Listen("unix", filepath.Join(src, "tree", "sock"))
	if err != nil {
		t.Skipf("no sockets in folders here: %v", err)
	}
	defer ln.Close()
	var buf bytes.Buffer
	r, err := parcel.Pack(t.Context(), &buf, filepath.Join(src, "tree"), parcel.Options{Side: fault.LocalFile})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"tree/sock: is a socket"}, r.Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if _, err := parcel.Unpack(t.Context(), &buf, dst, parcel.Options{}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dst, "tree", "file")); err != nil {
		t.Error(err)
	}
	if _, err := parcel.Pack(t.Context(), io.Discard, filepath.Join(src, "tree", "sock"), parcel.Options{Side: fault.LocalFile}); !fault.Is(err, fault.LocalFile) {
		t.Errorf("a socket alone: %v, want a LocalFile fault", err)
	}
}

func TestACancelledCopyEnds(t *testing.T) {
	src := t.TempDir()
	write(t, src, "tree/", "tree/file")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := parcel.Pack(ctx, io.Discard, src, parcel.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Pack: %v", err)
	}
	if _, err := parcel.Unpack(ctx, bytes.NewReader(stream(t, "file a")), t.TempDir(), parcel.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Unpack: %v", err)
	}
}

// A copy that is given up in the middle of a file leaves nothing of it on the machine.
func TestACopyGivenUpLeavesNothing(t *testing.T) {
	src, far := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "big"), make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	conn := serve(t)
	if err := conn.SendRequest(parcel.MethodUnpack, parcel.Request{Name: far}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := parcel.Put(ctx, conn, filepath.Join(src, "big"), parcel.Options{Side: fault.LocalFile, Progress: func(r parcel.Report) {
		if r.Bytes > 1<<20 {
			cancel()
		}
	}})
	if err == nil {
		t.Error("a copy that was given up ended well")
	}
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
		left, err := os.ReadDir(far)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left on the machine: %v", left)
		}
	}
}

func TestContentsOfMemoryArriveAsAFolder(t *testing.T) {
	far := t.TempDir()
	conn := serve(t)
	for range 2 { // the second time in the place of the first
		if err := conn.SendRequest(parcel.MethodUnpack, parcel.Request{Name: far}); err != nil {
			t.Fatal(err)
		}
		r, err := parcel.PutContents(t.Context(), conn, "kit", []parcel.Content{
			{Name: "run", Mode: 0o700, Data: []byte("#!/bin/sh\n")}, {Name: "empty", Mode: 0o600},
		}, parcel.Options{Side: fault.LocalFile})
		if err != nil || r.Files != 2 || r.Dirs != 1 || r.Bytes != 10 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	for name, want := range map[string]fs.FileMode{"kit": 0o700 | fs.ModeDir, "kit/run": 0o700, "kit/empty": 0o600} {
		info, err := os.Stat(filepath.Join(far, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want mode %v", name, info, err, want)
		}
	}
}
