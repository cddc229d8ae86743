package reach

import (
	"sync"

	"golang.org/x/crypto/ssh"
)

// The payloads of the session requests that we send, RFC 4254 section 6.
type (
	execMsg struct{ Command string } // subsystem requests look the same
	envMsg  struct{ Name, Value string }
	ptyMsg  struct {
		Term                          string
		Width, Height, PixelW, PixelH uint32
		Modes                         string
	}
	windowMsg struct{ Width, Height, PixelW, PixelH uint32 }
)

// exitUnknown is the code of a command whose channel closed without a word.
const exitUnknown = -1

// An ending is how a command ended, once that is known.
type ending struct {
	known chan struct{} // closed when code is known or never will be
	once  sync.Once
	exit  int // read after known is closed
}

func newEnding() *ending { return &ending{known: make(chan struct{}), exit: exitUnknown} }

// watch reads the requests of a session channel until the channel is closed.
func (e *ending) watch(reqs <-chan *ssh.Request) {
	for req := range reqs {
		switch req.Type {
		case "exit-status":
			var m struct{ Code uint32 }
			if ssh.Unmarshal(req.Payload, &m) == nil {
				e.set(int(m.Code & 0xff))
			}
		case "exit-signal":
			var m struct {
				Signal  string
				Dumped  bool
				Message string
				Lang    string
			}
			if ssh.Unmarshal(req.Payload, &m) == nil {
				e.set(128 + signalNumber(m.Signal))
			}
		}
		if req.WantReply {
			_ = req.Reply(false, nil) // the channel's end tells if this did not work
		}
	}
	e.set(exitUnknown)
}

func (e *ending) set(code int) {
	e.once.Do(func() {
		e.exit = code
		close(e.known)
	})
}

// code may be called when known is closed.
func (e *ending) code() int { return e.exit }

// signalNumber returns the number that Linux gives to a signal of RFC 4254
// section 6.10, as shells count; 0 for one that the RFC does not name.
func signalNumber(name string) int {
	switch name {
	case "HUP":
		return 1
	case "INT":
		return 2
	case "QUIT":
		return 3
	case "ILL":
		return 4
	case "ABRT":
		return 6
	case "FPE":
		return 8
	case "KILL":
		return 9
	case "USR1":
		return 10
	case "SEGV":
		return 11
	case "USR2":
		return 12
	case "PIPE":
		return 13
	case "ALRM":
		return 14
	case "TERM":
		return 15
	}
	return 0
}
