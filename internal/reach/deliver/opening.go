package deliver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/wire"
)

// An announce is the line by which a machine tells what it is, before the
// agent speaks: word, nonce, "here" or "absent", the tools that it has, then
// the system and the root, after a semicolon each since both may hold spaces.
type announce struct {
	here   bool
	tools  string // "gzip" or "-"
	system string // what uname -sm or %PROCESSOR_ARCHITECTURE% says
	root   string
}

const announceWord = "outrigger-agent"

// path returns where b is, or will be.
func (a announce) path(b build) string {
	sep := "/"
	if b.platform.OS == "windows" {
		sep = `\`
	}
	return strings.Join([]string{a.root, "agents", b.digest, binary(b.platform.OS)}, sep)
}

func binary(os string) string {
	if os == "windows" {
		return "outrigger-agent.exe"
	}
	return "outrigger-agent"
}

// newNonce makes a line that is ours from one that merely looks so.
func newNonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// parseAnnounce finds the announcement in a line. Something that a shell's
// start-up file printed may stand before it.
func parseAnnounce(line []byte, nonce string) (announce, bool) {
	_, rest, ok := bytes.Cut(line, []byte(announceWord+" "+nonce+" "))
	if !ok {
		return announce{}, false
	}
	parts := strings.SplitN(strings.TrimRight(string(rest), "\r\n"), ";", 3)
	words := strings.Fields(parts[0])
	if len(parts) != 3 || len(words) != 2 || words[0] != "here" && words[0] != "absent" || words[1] != "gzip" && words[1] != "-" {
		return announce{}, false
	}
	said := announce{here: words[0] == "here", tools: words[1], system: strings.TrimSpace(parts[1]), root: strings.TrimSpace(parts[2])}
	return said, isFolder(said.root)
}

// isFolder tells whether root can be the name of a folder: it is not blank, and nothing that is shown
// or compared later reads otherwise than it is.
func isFolder(root string) bool {
	return root != "" && utf8.ValidString(root) && !strings.ContainsFunc(root, func(r rune) bool { return !unicode.IsPrint(r) })
}

// platformOf translates what uname -sm says, or Windows of its processor.
func platformOf(system string) (machine.Platform, bool) {
	p, ok := map[string]machine.Platform{
		"Linux x86_64":  {OS: "linux", Arch: "amd64"},
		"Linux aarch64": {OS: "linux", Arch: "arm64"},
		"Linux arm64":   {OS: "linux", Arch: "arm64"},
		"Darwin x86_64": {OS: "darwin", Arch: "amd64"},
		"Darwin arm64":  {OS: "darwin", Arch: "arm64"},
		"Windows AMD64": {OS: "windows", Arch: "amd64"},
		"Windows ARM64": {OS: "windows", Arch: "arm64"},
	}[system]
	return p, ok
}

// maxNoise bounds what a login may print before our command does.
const maxNoise = 64 << 10

// errNoise means that something else than the agent talked.
var errNoise = errors.New("the login prints something else instead")

// An opening is a stream whose first lines are not the agent's.
type opening struct {
	*reach.Stream
	r *bufio.Reader
}

// The reader is small: larger reads go past it, so that bulk data is not copied twice.
func newOpening(s *reach.Stream) *opening { return &opening{s, bufio.NewReaderSize(s, 4096)} }

// Read reads what follows the announcement.
func (o *opening) Read(b []byte) (int, error) { return o.r.Read(b) }

// shellLimit is how long a login may take until it runs our command. A guess:
// start-up files of shells that take ten seconds have been seen.
const shellLimit = time.Minute

var errShellSlow = fmt.Errorf("the login did not get to our command within %v", shellLimit)

var errNoAnswer = errors.New("no answer from the machine's shell")

// await skips to the announcement and, if the agent is there and was to be
// started, waits for its first byte. It gives up when ctx ends.
func (o *opening) await(ctx context.Context, nonce string, started bool) (announce, error) {
	type result struct {
		said announce
		err  error
	}
	ctx, cancel := context.WithTimeoutCause(ctx, shellLimit, errShellSlow)
	defer cancel()
	done := make(chan result, 1)
	// Reading cannot be cancelled. The goroutine ends when the machine answers
	// to the close or the connection ends.
	go func() {
		said, err := readAnnounce(o.r, nonce)
		if err == nil && said.here && started {
			err = o.firstByte()
		}
		done <- result{said, err}
	}()
	select {
	case r := <-done:
		return r.said, r.err
	case <-ctx.Done():
		return announce{}, fmt.Errorf("%w: %w", errNoAnswer, context.Cause(ctx))
	}
}

func readAnnounce(r *bufio.Reader, nonce string) (announce, error) {
	var noise []byte
	for len(noise) < maxNoise {
		line, err := r.ReadSlice('\n')
		if said, ok := parseAnnounce(line, nonce); ok {
			return said, nil
		}
		noise = append(noise, line...)
		if err == nil || errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		var exit *reach.ExitError
		if errors.Is(err, io.EOF) || errors.As(err, &exit) {
			return announce{}, noShell(noise, exit)
		}
		return announce{}, err
	}
	return announce{}, fmt.Errorf("%w: %q…", errNoise, start(noise))
}

// noShell tells what came instead of the announcement.
func noShell(noise []byte, exit *reach.ExitError) error {
	words := strings.TrimSpace(start(noise))
	if exit != nil {
		words = strings.TrimSpace(words + " " + exit.Error())
	}
	return fmt.Errorf("%w: %q", errNoShell, words)
}

// start returns the first words of b for a message.
func start(b []byte) string { return strings.ToValidUTF8(string(b[:min(len(b), 300)]), "?") }

// firstByte waits for the agent's hello and leaves it to be read.
func (o *opening) firstByte() error {
	b, err := o.r.Peek(1)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: it ended without a word", errNoise)
		}
		return err
	}
	if wire.Type(b[0]) != wire.TypeHello {
		more, _ := o.r.Peek(o.r.Buffered()) // only what is there already, so there is no error
		return fmt.Errorf("%w: %q", errNoise, start(more))
	}
	return nil
}
