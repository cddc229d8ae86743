package wire

import (
	"errors"
	"fmt"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/sanitize"
)

// Version is that of the protocol. A client always brings its own agent, so
// the two are equal unless something is badly wrong; a difference is refused.
const Version = 1

// A Hello opens a connection, from both sides, before anything else.
type Hello struct {
	Version  int              `cbor:"1,keyasint"`
	Build    string           `cbor:"2,keyasint,omitempty"`
	Platform machine.Platform `cbor:"3,keyasint"`
	// Key is the client's secret: the leases that it makes on this connection are of this key, and only who
	// has it can use, list or release them. A client of several machines has another one for each.
	Key []byte `cbor:"4,keyasint,omitempty"`
	// Now is the client's clock. The times of leases are by it on this connection; the machine's may be another.
	Now time.Time `cbor:"5,keyasint,omitzero"`
}

// MaxKey bounds a Key.
const MaxKey = 64

// A Request asks the agent for something. What follows on the connection
// depends on Method; every method is answered by a [Response] first.
type Request struct {
	Method string `cbor:"1,keyasint"`
	Body   []byte `cbor:"2,keyasint,omitempty"` // CBOR of the method's own request type
}

// A Response answers a [Request]: a fault, or a body.
type Response struct {
	Fault *Fault `cbor:"1,keyasint,omitempty"`
	Body  []byte `cbor:"2,keyasint,omitempty"`
}

// A Fault carries a [fault.Error] over the wire.
type Fault struct {
	Kind   fault.Kind `cbor:"1,keyasint"`
	Text   string     `cbor:"2,keyasint"`
	Detail string     `cbor:"3,keyasint,omitempty"`
	// Remedy came from older agents. Nobody sends it, and what comes is not shown: a
	// reader does what it says.
	Remedy string `cbor:"4,keyasint,omitempty"`
}

// How much of a fault's words is taken over.
const (
	maxText   = 4 << 10
	maxDetail = 64 << 10
)

// FaultOf makes err fit for the wire.
func FaultOf(err error) *Fault {
	if err == nil {
		return nil
	}
	f := &Fault{Kind: fault.Of(err), Text: err.Error()}
	if e, ok := asFault(err); ok {
		f.Detail = e.Detail
	}
	return f
}

// Err makes an error of f again; nil for nil. A machine is somebody else: its
// words are cleaned, and the remedy is this side's own.
func (f *Fault) Err() error {
	if f == nil {
		return nil
	}
	return fault.New(sayable(f.Kind), "%s", sanitize.Text(f.Text, maxText)).WithDetail(sanitize.Text(f.Detail, maxDetail))
}

// sayable is a kind that a machine can know of. What is only seen from here, such
// as a changed host key or a machine that is lost, is what this side acts on, so a
// machine has no say in it; nor has it words of its own.
func sayable(k fault.Kind) fault.Kind {
	switch k {
	case fault.Config, fault.UnknownMachine, fault.UnknownProvider, fault.UnknownImage, fault.UnknownPool,
		fault.ProviderRefused, fault.ProviderDown, fault.BootTimeout, fault.Unreachable, fault.RouteRefused,
		fault.AuthRefused, fault.HostKey, fault.MachineLost:
		return fault.Protocol
	}
	if fault.Lookup(k).Kind != k {
		return fault.Protocol
	}
	return k
}

// SendHello sends this side's Hello without flushing; it leaves with what follows.
func (c *Conn) SendHello(build string, p machine.Platform) error {
	return c.hello(Hello{Build: build, Platform: p})
}

func (c *Conn) hello(h Hello) error {
	h.Version = Version
	b, err := Marshal(h)
	if err != nil {
		return err
	}
	return c.Queue(TypeHello, b)
}

// Greet queues this side's Hello and leaves the other side's to the first
// Recv, so that a client's first request need not wait for it.
func (c *Conn) Greet(build string, p machine.Platform) error { return c.GreetAs(build, p, "") }

// GreetAs is Greet of a client that has a key.
func (c *Conn) GreetAs(build string, p machine.Platform, key string) error {
	c.expectHello = true
	return c.hello(Hello{Build: build, Platform: p, Key: []byte(key), Now: time.Now()})
}

// RecvHello reads the other side's Hello and refuses another version.
func (c *Conn) RecvHello() (Hello, error) {
	c.expectHello = false
	f, err := c.Recv()
	if err != nil {
		return Hello{}, fmt.Errorf("wire: read hello: %w", err)
	}
	var h Hello
	if f.Type != TypeHello {
		return Hello{}, fault.New(fault.Protocol, "wire: got frame type %d, want hello", f.Type)
	}
	if err := f.Decode(&h); err != nil {
		return Hello{}, fault.New(fault.Protocol, "wire: decode hello: %w", err)
	}
	if h.Version != Version {
		return h, fault.New(fault.Protocol, "wire: other side speaks version %d, want %d", h.Version, Version)
	}
	if len(h.Key) > MaxKey {
		return h, fault.New(fault.Protocol, "wire: key of %d bytes, want at most %d", len(h.Key), MaxKey)
	}
	return h, nil
}

// SendRequest asks for method with body.
func (c *Conn) SendRequest(method string, body any) error {
	b, err := Marshal(body)
	if err != nil {
		return fmt.Errorf("wire: encode %s request: %w", method, err)
	}
	return c.Send(TypeRequest, Request{Method: method, Body: b})
}

// RecvResponse reads the answer to a request into body (nil: no body wanted).
// A fault of the other side comes back as the error that it was.
func (c *Conn) RecvResponse(body any) error {
	f, err := c.Recv()
	if err != nil {
		return fmt.Errorf("wire: read response: %w", err)
	}
	if f.Type != TypeResponse {
		return fault.New(fault.Protocol, "wire: got frame type %d, want a response", f.Type)
	}
	var r Response
	if err := f.Decode(&r); err != nil {
		return fault.New(fault.Protocol, "wire: decode response: %w", err)
	}
	if r.Fault != nil {
		return r.Fault.Err()
	}
	if body == nil {
		return nil
	}
	if err := Unmarshal(r.Body, body); err != nil {
		return fault.New(fault.Protocol, "wire: decode response body: %w", err)
	}
	return nil
}

// Respond answers a request with body, or with err if it is not nil.
func (c *Conn) Respond(body any, err error) error {
	if err != nil {
		return c.Send(TypeResponse, Response{Fault: FaultOf(err)})
	}
	b, err := Marshal(body)
	if err != nil {
		return fmt.Errorf("wire: encode response: %w", err)
	}
	return c.Send(TypeResponse, Response{Body: b})
}

// Call is SendRequest and RecvResponse.
func (c *Conn) Call(method string, req, resp any) error {
	if err := c.SendRequest(method, req); err != nil {
		return err
	}
	return c.RecvResponse(resp)
}

func asFault(err error) (*fault.Error, bool) {
	var e *fault.Error
	ok := errors.As(err, &e)
	return e, ok
}
