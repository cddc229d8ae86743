package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadAnnounce(t *testing.T) {
	for _, tt := range []struct {
		name string
		said string
		want announce
		err  error
		rest string // what follows belongs to the agent
	}{
		{"an agent that is there", "outrigger-agent n0nce here - ;Linux x86_64;/root/a b;c\n\x01\x00", announce{here: true, tools: "-", system: "Linux x86_64", root: "/root/a b;c"}, nil, "\x01\x00"},
		{"an agent that is absent", "outrigger-agent n0nce absent gzip ;Darwin arm64;/Users/ci/.outrigger\n", announce{tools: "gzip", system: "Darwin arm64", root: "/Users/ci/.outrigger"}, nil, ""},
		{"Windows", "outrigger-agent n0nce here - ;Windows AMD64;.outrigger\r\n\x01", announce{here: true, tools: "-", system: "Windows AMD64", root: ".outrigger"}, nil, "\x01"},
		{"after a greeting", "Welcome!\nLast login: never\noutrigger-agent n0nce here - ;x;y\n", announce{here: true, tools: "-", system: "x", root: "y"}, nil, ""},
		{"after a greeting without an end", "> outrigger-agent n0nce here - ;x;y\n", announce{here: true, tools: "-", system: "x", root: "y"}, nil, ""},
		{"after a very long line", strings.Repeat("x", 5000) + "\noutrigger-agent n0nce here - ;x;y\n", announce{here: true, tools: "-", system: "x", root: "y"}, nil, ""},
		{"somebody else's", "outrigger-agent other here - ;x;y\n", announce{}, errNoShell, ""},
		{"nothing", "", announce{}, errNoShell, ""},
		{"half of it", "outrigger-agent n0nce here - ;x", announce{}, errNoShell, ""},
		{"a word that is none", "outrigger-agent n0nce perhaps - ;x;y\n", announce{}, errNoShell, ""},
		{"a blank root", "outrigger-agent n0nce here - ;Linux x86_64; \t\r\n", announce{}, errNoShell, ""},
		{"a root that a terminal would obey", "outrigger-agent n0nce here - ;Linux x86_64;/r\x1b[2J\n", announce{}, errNoShell, ""},
		{"tools that nobody asked for", "outrigger-agent n0nce absent ger-gzip ;Linux x86_64;/r\n", announce{}, errNoShell, ""},
		{"no end of noise", strings.Repeat("y\n", 1<<20), announce{}, errNoise, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := bufio.NewReaderSize(strings.NewReader(tt.said), 4096)
			got, err := readAnnounce(r, "n0nce")
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Fatalf("got %+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
			if err != nil {
				return
			}
			if rest, err := io.ReadAll(r); string(rest) != tt.rest || err != nil {
				t.Errorf("left %q, %v; want %q", rest, err, tt.rest)
			}
		})
	}
}

// Whatever a machine says, the answer is bounded and belongs to our question.
func FuzzReadAnnounce(f *testing.F) {
	f.Add([]byte("outrigger-agent n0nce here - ;Linux x86_64;/root\n\x01"))
	f.Add([]byte("motd\noutrigger-agent n0nce absent gzip ;Darwin arm64;/Users/x\n"))
	f.Add([]byte("outrigger-agent n0nce here here here\noutrigger-agent n0nce here - ;;\n"))
	f.Add(bytes.Repeat([]byte{0xff}, 70<<10))
	f.Fuzz(func(t *testing.T, said []byte) {
		counted := &countingReader{r: bytes.NewReader(said)}
		got, err := readAnnounce(bufio.NewReaderSize(counted, 4096), "n0nce")
		if counted.n > maxNoise+2*4096 {
			t.Errorf("read %d bytes before giving up", counted.n)
		}
		if err != nil {
			if got != (announce{}) {
				t.Errorf("an error and %+v", got)
			}
			return
		}
		if !isFolder(got.root) || strings.TrimSpace(got.root) != got.root || strings.ContainsAny(got.tools, " ;") || !bytes.Contains(said, []byte("outrigger-agent n0nce ")) {
			t.Errorf("took %+v from %q", got, said)
		}
	})
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}
