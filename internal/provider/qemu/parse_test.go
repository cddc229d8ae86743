package qemu

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
)

func TestConfigIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // in the fault; "" for none
	}{
		{"nothing said", Config{}, ""},
		{"all said", Config{Image: "my.image_2", CPUs: 4, MemoryMiB: 8192, DiskGiB: 100, Accel: AccelKVM, Snapshot: SnapshotNever, BootTimeout: time.Hour, Max: 3}, ""},
		{"too little memory", Config{MemoryMiB: 64}, "memoryMiB: 64 is not in 256"},
		{"a negative number", Config{CPUs: -1}, "cpus: -1"},
		{"two mistakes", Config{DiskGiB: 1, Max: -1}, "max: -1"},
		{"an accelerator that is none", Config{Accel: "hvf"}, `accel: "hvf" is none of auto, kvm, tcg`},
		{"a snapshot mode that is none", Config{Snapshot: "always"}, `snapshot: "always" is none of auto, never`},
		{"no time to boot", Config{BootTimeout: time.Millisecond}, "bootTimeout: 1ms"},
		{"an image outside the folder", Config{Image: "../x"}, `image: image name "../x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.cfg.Check()
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!fault.Is(err, fault.Config) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want a Config fault with %q", err, tt.want)
			}
		})
	}
}

func TestSourcesOfThisComputer(t *testing.T) {
	targets := strings.Join([]string{
		"Debian|bookworm|main|http://mirror.example/debian/",
		"Debian|bookworm|contrib|http://mirror.example/debian/",
		"Debian|bookworm-updates|main|http://mirror.example/debian/",
		"Debian|bookworm-security|main|http://security.example/",
		"Debian|bookworm-security|main|http://security.example/",
		"Debian Backports|bookworm-backports|main|http://mirror.example/debian/",
		"Debian|trixie|main|http://mirror.example/debian/",
		"Docker|bookworm|stable|http://docker.example/",
		"$(ORIGIN)|bookworm|main|http://never-looked-at.example/",
		"nonsense",
		"",
	}, "\n")
	want := []string{
		`deb [signed-by="/k.gpg"] http://mirror.example/debian/ bookworm main`,
		`deb [signed-by="/k.gpg"] http://mirror.example/debian/ bookworm-updates main`,
		`deb [signed-by="/k.gpg"] http://security.example/ bookworm-security main`,
		`deb [signed-by="/k.gpg"] http://never-looked-at.example/ bookworm main`,
	}
	if diff := cmp.Diff(want, sourceLines([]byte(targets), "bookworm", "/k.gpg")); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if got := sourceLines([]byte(targets), "bookworm", ""); got[0] != "deb http://mirror.example/debian/ bookworm main" {
		t.Errorf("without a keyring: %q", got[0])
	}
}

func TestTransportOptions(t *testing.T) {
	settings := `Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https::Proxy::internal.example "DIRECT";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Acquire::Languages "none";
Acquire::http::User-Agent "x";
`
	want := []string{
		`Acquire::http::Proxy "http://proxy.example:3128";`,
		`Acquire::https::Proxy::internal.example "DIRECT";`,
		`Acquire::Check-Valid-Until "false";`,
		`Acquire::Retries "3";`,
	}
	if diff := cmp.Diff(want, transportOptions([]byte(settings))); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestDebianRelease(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"Debian", "PRETTY_NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=debian\n", "bookworm"},
		{"a derivative", "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n", ""},
		{"quoted", "ID=\"debian\"\nVERSION_CODENAME='trixie'\n", "trixie"},
		{"empty", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := debianRelease([]byte(tt.file)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestParsePort(t *testing.T) {
	const table = "Hub -1 (net):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
	for _, tt := range []struct {
		name, text string
		want       int // 0: none
	}{
		{"as QEMU prints it", table + "  TCP[HOST_FORWARD]  12       127.0.0.1 36245       10.0.2.15    22     0     0\r\n", 36245},
		{"among others", table + "  TCP[ESTABLISHED]   13       127.0.0.1 40000       10.0.2.15    22     0     0\r\n  UDP[236 sec]       30       10.0.2.15 53       10.0.2.3    53     0     0\r\n  TCP[HOST_FORWARD]  12       127.0.0.1 1       10.0.2.15    22     0     0\r\n", 1},
		{"another port of the guest", table + "  TCP[HOST_FORWARD]  12       127.0.0.1 36245       10.0.2.15    80     0     0\r\n", 0},
		{"no port at all", table + "  TCP[HOST_FORWARD]  12       127.0.0.1 99999       10.0.2.15    22     0     0\r\n", 0},
		{"nothing", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parsePort(tt.text)
			if got != tt.want || (err == nil) != (tt.want > 0) {
				t.Errorf("%d, %v, want %d", got, err, tt.want)
			}
		})
	}
}

// FuzzBacking: whatever a file holds, the reader of its header neither panics
// nor believes more than a name's length.
func FuzzBacking(f *testing.F) {
	header := append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 32)...)
	binary.BigEndian.PutUint64(header[8:], 24)
	binary.BigEndian.PutUint32(header[16:], 7)
	f.Add(append(header[:24:24], "b.qcow2"...))
	f.Add(header[:10])
	f.Add([]byte("QFI\xfb\x00\x00\x00\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x.qcow2")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if name, err := backing(path); err == nil && len(name) > 1023 {
			t.Errorf("a name of %d bytes", len(name))
		}
	})
}

func TestLastLines(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		max        int
		want       string
	}{
		{"all of it", "one\ntwo\n", 100, "one\ntwo\n"},
		{"from the start of a line", "one\ntwo\nthree\n", 8, "three\n"},
		{"one long line", "abcdefgh", 3, "fgh"},
		{"a carriage return", "one\r\ntwo\r\n", 100, "one\ntwo\n"},
		{"no text", "a\xff\xfeb", 100, "a?b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lastLines([]byte(tt.text), tt.max); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
