package parcel

import (
	"archive/tar"
	"context"
	"io"
	"io/fs"
	"time"

	"outrigger.dev/outrigger/internal/wire"
)

// A Content is a file that is held in memory.
type Content struct {
	Name string // within the folder: no path
	Mode fs.FileMode
	Data []byte
}

// PutContents sends a folder that is nowhere on this side, called base, with these files in it
// to an agent that unpacks. conn has the request sent.
func PutContents(ctx context.Context, conn *wire.Conn, base string, files []Content, o Options) (Report, error) {
	return put(ctx, conn, func(ctx context.Context, w io.Writer) (Report, error) {
		return packContents(ctx, w, base, files, o)
	})
}

func packContents(ctx context.Context, w io.Writer, base string, files []Content, o Options) (Report, error) {
	p := packer{tw: tar.NewWriter(w), o: o}
	now := stamp(time.Now())
	err := p.header(&tar.Header{Typeflag: tar.TypeDir, Name: base + "/", Mode: 0o700, ModTime: now})
	p.r.Dirs++
	for _, f := range files {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = p.header(&tar.Header{Typeflag: tar.TypeReg, Name: base + "/" + f.Name, Size: int64(len(f.Data)), Mode: int64(f.Mode.Perm()), ModTime: now})
		}
		if err == nil {
			_, err = p.tw.Write(f.Data)
		}
		p.r.Files++
		p.r.Bytes += int64(len(f.Data))
	}
	if err == nil {
		err = p.tw.Close()
	}
	return p.r, err
}
