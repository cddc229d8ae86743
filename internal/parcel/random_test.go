package parcel_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/parcel"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/test/soak"
)

// TestRandomArchives copies from machines that send what was drawn from a seed: names that lead out, links and what would go
// through them, things of other kinds, sizes that are not so, bytes that were turned. Whatever a machine sends, nothing but
// the target changes, nothing is left in it that no copy leaves, and what went wrong is told as a fault.
func TestRandomArchives(t *testing.T) {
	for _, seed := range soak.Seeds(t, 150) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 8))
			w := newWorld(t)
			dst, target := "dl", w.home("dl/report")
			if r.IntN(3) == 0 {
				dst, target = "dl/new", w.home("dl/new")
			}
			for range 1 + r.IntN(3) { // a later copy meets what an earlier one has left
				in := randomArchive(r)
				var err error
				if r.IntN(2) == 0 {
					_, err = parcel.UnpackAsked(t.Context(), bytes.NewReader(in), "logs/report", w.home(dst), parcel.Options{Side: fault.LocalFile})
				} else {
					err = get(t, r, in, w.home(dst))
				}
				var f *fault.Error
				if err != nil && !errors.As(err, &f) {
					t.Errorf("no fault: %v", err)
				}
				if diff := w.unharmed(target); diff != "" {
					t.Fatalf("outside of %s (-before +after):\n%s", target, diff)
				}
				if err := decent(target); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// get is parcel.Get from a machine that frames the archive as it likes.
func get(t *testing.T, r *rand.Rand, in []byte, dst string) error {
	t.Helper()
	a, b := net.Pipe()
	near, far := wire.NewConn(a), wire.NewConn(b)
	defer near.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		defer far.Close()
		if err := far.Respond(struct{}{}, nil); err != nil {
			return
		}
		z, err := zstd.NewWriter(nil)
		if err != nil {
			return
		}
		packed := z.EncodeAll(in, nil)
		if r.IntN(4) == 0 {
			turn(r, packed)
		}
		for len(packed) > 0 {
			n := 1 + r.IntN(len(packed))
			kind := parcel.TypeData
			if r.IntN(30) == 0 {
				kind = wire.Type(r.IntN(256))
			}
			if far.SendBytes(kind, packed[:n]) != nil { // the near side has heard enough
				return
			}
			packed = packed[n:]
		}
		if r.IntN(4) > 0 {
			end := parcel.Trailer{Report: parcel.Report{Files: r.Int64(), Bytes: -1, Skipped: make([]string, r.IntN(1000))}}
			if r.IntN(4) == 0 {
				end.Fault = &wire.Fault{Kind: fault.Kind(randomName(r)), Text: randomName(r), Remedy: randomName(r)}
			}
			_ = far.Send(parcel.TypeEnd, end) // likewise
		}
	}()
	_, err := parcel.Get(t.Context(), near, dst, parcel.Options{Side: fault.LocalFile, Asked: "logs/report"})
	near.Close()
	<-sent
	return err
}

// parts are components of names that a file system, a join or a terminal takes for something else.
var parts = []string{
	"a", "b", "in", "..", ".", "", "report", "Report", "report2", ".bashrc", ".ssh", "authorized_keys", "a\x00b", `..\x`, `C:\x`, "NUL", "\xff",
	"\x1b[2J", "~", "-rf", strings.Repeat("n", 300), ".outriggerignore", "\u202e", "a b", "x\ny",
}

func randomName(r *rand.Rand) string {
	names := make([]string, 1+r.IntN(3))
	for i := range names {
		names[i] = parts[r.IntN(len(parts)/(1+2*r.IntN(2)))]
	}
	return strings.Join(names, "/")
}

// randomArchive is mostly one that begins as it should: else it is refused at once.
func randomArchive(r *rand.Rand) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(name string, kind byte) {
		h := &tar.Header{
			Name: name, Typeflag: kind, Mode: r.Int64N(1 << 13), ModTime: time.Unix(r.Int64N(1<<33), 0),
			Format: []tar.Format{tar.FormatPAX, tar.FormatGNU, tar.FormatUnknown}[r.IntN(3)],
		}
		var body []byte
		switch kind {
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = []string{"../../.ssh", "/", "a", ".", "..", "in/authorized_keys", "../report", "\xff", ""}[r.IntN(9)]
		case tar.TypeReg:
			body = bytes.Repeat([]byte("evil"), r.IntN(200))
			h.Size = int64(len(body))
		}
		if w.WriteHeader(h) == nil { // else tar cannot say it
			_, _ = w.Write(body) // likewise
		}
	}
	kinds := []byte{tar.TypeReg, tar.TypeReg, tar.TypeReg, tar.TypeDir, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo, tar.TypeChar, 'S', 'Z'}
	switch r.IntN(6) {
	case 0:
		add(randomName(r), kinds[r.IntN(len(kinds))])
	case 1:
		add("report", tar.TypeReg)
	default:
		add("report/", tar.TypeDir)
	}
	for range r.IntN(10) {
		name := "report/" + randomName(r)
		if r.IntN(8) == 0 {
			name = randomName(r)
		}
		kind := kinds[r.IntN(len(kinds))]
		if kind == tar.TypeDir {
			name += "/"
		}
		add(name, kind)
	}
	_ = w.Close() // an entry that was not written whole
	out := buf.Bytes()
	if r.IntN(4) == 0 {
		turn(r, out)
	}
	if r.IntN(8) == 0 {
		out = out[:r.IntN(len(out)+1)]
	}
	return out
}

// turn changes bytes, half of the time in the header of an entry, whose sum is set right.
func turn(r *rand.Rand, b []byte) {
	for range min(len(b), 1+r.IntN(4)) {
		at := r.IntN(len(b))
		b[at] = byte(r.Uint32())
		if head := at / 512 * 512; len(b) >= head+512 && r.IntN(2) == 0 {
			checksum(b[head : head+512])
		}
	}
}
