package guest_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"outrigger.dev/outrigger/internal/provider/qemu/guest"
)

func TestPersonalityFillsItsDisk(t *testing.T) {
	p := guest.Personality{Now: time.Now(), HostName: "m", Files: []guest.File{{Path: "/etc/x", Mode: 0o644, Content: []byte("x")}}}
	b, err := p.Encode()
	if err != nil || len(b) != guest.DiskSize {
		t.Fatalf("%d bytes, %v, want %d", len(b), err, guest.DiskSize)
	}
	if end := 12 + binary.LittleEndian.Uint32(b[8:]); end%8 != 4 || len(bytes.Trim(b[end:], "\x00")) > 0 {
		t.Errorf("its records end at %d, and there is something behind", end)
	}
	p.Files[0].Content = make([]byte, guest.DiskSize)
	if _, err := p.Encode(); err == nil {
		t.Error("a personality that does not fit was taken")
	}
}

// TestHostKey: Dropbear's own tool reads the key as OpenSSH's would.
func TestHostKey(t *testing.T) {
	if _, err := exec.LookPath("dropbearkey"); err != nil {
		t.Skip("dropbearkey is not installed; machines of the provider's tests prove the same")
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "dropbearkey", "-y", "-f", "/dev/stdin")
	cmd.Stdin = bytes.NewReader(guest.HostKey(private))
	out, err := cmd.CombinedOutput()
	if want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("dropbearkey says %v:\n%s\nwant %s", err, out, want)
	}
}

// TestInitrd: cpio reads what is written.
func TestInitrd(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("cpio is not installed; machines of the provider's tests prove the same")
	}
	var b bytes.Buffer
	files := []guest.InitFile{{"init", 0o755, []byte("1")}, {"modules/a.ko", 0o644, []byte("12345")}, {"modules/empty.ko", 0o644, nil}}
	if err := guest.WriteInitrd(&b, files); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "cpio", "--quiet", "-itv")
	cmd.Stdin = &b
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		got = append(got, strings.Join([]string{f[0], f[4], f[len(f)-1]}, " "))
	}
	want := []string{
		"drwxr-xr-x 0 dev", "drwxr-xr-x 0 proc", "drwxr-xr-x 0 sys", "drwxr-xr-x 0 run", "drwxr-xr-x 0 root", "drwxr-xr-x 0 modules",
		"-rwxr-xr-x 1 init", "-rw-r--r-- 5 modules/a.ko", "-rw-r--r-- 0 modules/empty.ko",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}
