package parcel

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/wire"
)

// Methods that an agent answers; the body of both is a [Request].
const (
	MethodPack   = "parcel.pack"   // the agent sends
	MethodUnpack = "parcel.unpack" // the agent receives
)

// A Request says what to send or where to put what comes. A relative name starts in
// the login's home folder, and so does "~/".
type Request struct {
	Name string `cbor:"1,keyasint"`
}

// Frames of a parcel on its way.
const (
	typeData wire.Type = 128 // a piece of a zstd stream
	typeEnd  wire.Type = 129 // trailer; from the sender when it is through, from the receiver likewise
)

// A trailer ends a parcel, well or not.
type trailer struct {
	Report Report      `cbor:"1,keyasint"`
	Fault  *wire.Fault `cbor:"2,keyasint,omitempty"`
}

// Get receives into dst what the agent packs. conn has the request sent, for
// o.Asked: in a folder, nothing gets another name than the last of that.
func Get(ctx context.Context, conn *wire.Conn, dst string, o Options) (Report, error) {
	defer closeWith(ctx, conn)()
	if err := conn.RecvResponse(nil); err != nil {
		return Report{}, err
	}
	return receive(ctx, &frameReader{conn: conn}, dst, o, asked(o.Asked))
}

// Put sends what is at name to an agent that unpacks. conn has the request sent.
func Put(ctx context.Context, conn *wire.Conn, name string, o Options) (Report, error) {
	return put(ctx, conn, func(ctx context.Context, w io.Writer) (Report, error) { return Pack(ctx, w, name, o) })
}

// put sends what pack writes.
func put(ctx context.Context, conn *wire.Conn, pack packing) (Report, error) {
	defer closeWith(ctx, conn)()
	if err := conn.RecvResponse(nil); err != nil {
		return Report{}, err
	}
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	answered := make(chan trailer, 1)
	failed := make(chan error, 1)
	go func() {
		t, err := recvTrailer(conn)
		if err != nil {
			failed <- err
		} else {
			answered <- t
		}
		giveUp() // the receiver is through: with all of it, or with us
	}()
	sent, err := send(ctx, conn, pack)
	if sent.lost != nil {
		conn.Close() // so that the goroutine above ends
	}
	select {
	case t := <-answered:
		if t.Fault != nil && err == nil || t.Fault != nil && errors.Is(err, context.Canceled) {
			return t.Report, t.Fault.Err()
		}
		t.Report.Skipped = firstOf(append(sent.report.Skipped, t.Report.Skipped...))
		return t.Report, err
	case rerr := <-failed:
		if err == nil || errors.Is(err, context.Canceled) {
			err = rerr
		}
		return sent.report, err
	}
}

// Serve answers one request of a client. It returns an error only when the
// connection is of no more use.
func Serve(ctx context.Context, conn *wire.Conn, req wire.Request) error {
	defer closeWith(ctx, conn)()
	o := Options{Side: fault.RemoteFile}
	var r Request
	if err := wire.Unmarshal(req.Body, &r); err != nil {
		return conn.Respond(nil, fault.New(fault.Protocol, "copy: decode request: %w", err))
	}
	name, err := expand(r.Name)
	if err == nil && req.Method == MethodPack {
		_, err = os.Stat(name) // so that a mistyped name is a plain answer
		if err != nil {
			err = fault.New(fault.RemoteFile, "copy: %w", err)
		}
	}
	if rerr := conn.Respond(struct{}{}, err); rerr != nil || err != nil {
		return rerr
	}
	if req.Method == MethodPack {
		sent, _ := send(ctx, conn, func(ctx context.Context, w io.Writer) (Report, error) { return Pack(ctx, w, name, o) }) // what went wrong went with the trailer
		return sent.lost
	}
	in := &frameReader{conn: conn}
	// Who may write wherever the login may, may choose names too.
	report, err := receive(ctx, in, name, o, func(string) bool { return true })
	// First the answer, so that the sender may stop; then what it had sent by then.
	if serr := conn.Send(typeEnd, trailer{Report: report, Fault: wire.FaultOf(err)}); serr != nil {
		return serr
	}
	return in.rest()
}

// A sending is how far a parcel got: lost tells that the connection broke.
type sending struct {
	report Report
	lost   error
}

// A packing writes a parcel to w.
type packing func(ctx context.Context, w io.Writer) (Report, error)

// send packs into data frames and ends with a trailer. The error is what
// went wrong on this side or on the way.
func send(ctx context.Context, conn *wire.Conn, pack packing) (sending, error) {
	out := &frameWriter{ctx: ctx, conn: conn}
	buf := bufio.NewWriterSize(out, 256<<10)
	zw, err := newSqueezer(buf)
	if err != nil {
		return sending{}, err
	}
	report, err := pack(ctx, zw)
	if cerr := zw.close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = buf.Flush()
	}
	if out.broken != nil {
		return sending{report, out.broken}, out.broken
	}
	if serr := conn.Send(typeEnd, trailer{Report: report, Fault: wire.FaultOf(err)}); serr != nil {
		return sending{report, serr}, serr
	}
	return sending{report: report}, err
}

type frameWriter struct {
	ctx    context.Context //nolint:containedctx // of the one call that writes
	conn   *wire.Conn
	broken error // of the connection
}

func (w *frameWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if err := w.conn.SendBytes(typeData, b); err != nil {
		w.broken = err
		return 0, err
	}
	return len(b), nil
}

// receive unpacks data frames until the sender's trailer.
func receive(
	ctx context.Context, in *frameReader, dst string, o Options, fit func(base string) bool,
) (Report, error) {
	zr, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return Report{}, fault.New(fault.Internal, "copy: %w", err)
	}
	defer zr.Close()
	report, err := unpack(ctx, &measured{from: zr, in: in}, dst, o, fit)
	if err == nil {
		// What tar and zstd did not need, up to the trailer.
		_, err = io.Copy(io.Discard, in)
	}
	if in.end != nil {
		report.Skipped = firstOf(in.end.Report.Skipped)
		if in.end.Fault != nil {
			err = in.end.Fault.Err() // the sender knows better why it stopped
		}
	}
	return report, err
}

type frameReader struct {
	conn *wire.Conn
	data []byte
	got  int64 // of data, from the connection
	end  *trailer
	err  error
}

func (r *frameReader) Read(b []byte) (int, error) {
	for len(r.data) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.next()
	}
	n := copy(b, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *frameReader) next() {
	f, err := r.conn.Recv()
	switch {
	case err != nil:
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the trailer is missing
		}
		r.err = fault.New(fault.MachineLost, "copy: the connection ended in the middle: %w", err)
	case f.Type == typeData:
		r.data = f.Payload
		r.got += int64(len(f.Payload))
	case f.Type == typeEnd:
		var t trailer
		if err := f.Decode(&t); err != nil {
			r.err = fault.New(fault.Protocol, "copy: decode trailer: %w", err)
			return
		}
		r.end, r.err = &t, io.EOF
		if t.Fault != nil {
			r.err = t.Fault.Err()
		}
	default:
		r.err = fault.New(fault.Protocol, "copy: got frame type %d", f.Type)
	}
}

// recvTrailer waits for the receiver's trailer.
func recvTrailer(conn *wire.Conn) (trailer, error) {
	r := &frameReader{conn: conn}
	r.next()
	if r.end == nil && r.err == nil {
		r.err = fault.New(fault.Protocol, "copy: data from who should receive")
	}
	if r.end == nil {
		return trailer{}, r.err
	}
	return *r.end, nil
}

// rest reads up to the sender's trailer, after which the connection can carry
// another request.
func (r *frameReader) rest() error {
	for r.err == nil {
		r.next()
	}
	if r.end != nil {
		return nil
	}
	return r.err
}

// expand makes name absolute in the login's home folder.
func expand(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", fault.New(fault.RemoteFile, "copy: %q is no name", name)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fault.New(fault.RemoteFile, "copy: %w", err)
	}
	slashed := filepath.ToSlash(name)
	switch {
	case slashed == "~" || strings.HasPrefix(slashed, "~/"):
		return home + filepath.FromSlash(slashed[1:]), nil
	case filepath.IsAbs(name):
		return name, nil
	}
	// Not Join: it would take away a "/." at the end, which means something.
	return home + string(filepath.Separator) + filepath.FromSlash(slashed), nil
}

// closeWith closes conn when ctx ends before the returned function is called.
func closeWith(ctx context.Context, conn *wire.Conn) (stop func()) {
	cancel := context.AfterFunc(ctx, func() { conn.Close() })
	return func() { cancel() }
}
