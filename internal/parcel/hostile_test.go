package parcel_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/parcel"
	"outrigger.dev/outrigger/internal/wire"
)

// stream is a parcel as no honest sender writes it, an entry a word pair: "dir NAME",
// "file NAME", "link NAME TARGET", "hard NAME TARGET", "fifo NAME", "sparse NAME".
func stream(tb testing.TB, entries ...string) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		kind, rest, _ := strings.Cut(e, " ")
		name, target, _ := strings.Cut(rest, " ")
		h := &tar.Header{Name: name, Linkname: target, Mode: 0o6777, ModTime: then, Format: tar.FormatPAX}
		switch kind {
		case "dir":
			h.Typeflag = tar.TypeDir
		case "file":
			h.Typeflag, h.Linkname, h.Size = tar.TypeReg, "", 4
		case "link":
			h.Typeflag = tar.TypeSymlink
		case "hard":
			h.Typeflag = tar.TypeLink
		case "fifo":
			h.Typeflag, h.Linkname = tar.TypeFifo, ""
		default:
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			continue // what tar cannot say cannot come
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, "evil"); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// A world is what a parcel must not touch: a home with things of worth on the
// way to the target, beside it and above it.
type world struct {
	tb     testing.TB
	top    string
	before map[string]string
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{tb: tb, top: tb.TempDir()}
	for _, name := range []string{"report", "evil", "home/.bashrc", "home/.ssh/authorized_keys", "home/report2", "home/dl/report/kept"} {
		path := filepath.Join(w.top, "users", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	for name, target := range map[string]string{"home/dl/tossh": "../.ssh", "home/dl/report/in": "../../.ssh"} {
		if err := os.Symlink(target, filepath.Join(w.top, "users", name)); err != nil {
			tb.Fatal(err)
		}
	}
	w.before = w.see("")
	return w
}

func (w *world) home(name string) string { return filepath.Join(w.top, "users/home", name) }

// see is all that there is, but what is at or below target.
func (w *world) see(target string) map[string]string {
	w.tb.Helper()
	seen := map[string]string{}
	err := filepath.WalkDir(w.top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == target {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		s := info.Mode().String()
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			s += " " + string(content)
		}
		seen[path] = s
		return nil
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return seen
}

// unharmed says what changed outside of target.
func (w *world) unharmed(target string) string {
	w.tb.Helper()
	want := map[string]string{}
	for path, s := range w.before {
		if path != target && !strings.HasPrefix(path, target+string(filepath.Separator)) {
			want[path] = s
		}
	}
	return cmp.Diff(want, w.see(target))
}

// decent says what is below target that no parcel may leave there.
func decent(target string) error {
	return filepath.WalkDir(target, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // nothing there, or a folder that its sender sealed
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if special := info.Mode() &^ (fs.ModePerm | fs.ModeDir | fs.ModeSymlink); special != 0 {
			return fmt.Errorf("%s is of mode %v", path, info.Mode())
		}
		if strings.HasPrefix(d.Name(), ".outrigger-") {
			return fmt.Errorf("%s was left", path)
		}
		return nil
	})
}

func TestAParcelWritesNothingBesideItsTarget(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     fault.Kind // "": some of it is fine
	}{
		{"another file than the one asked for", "file .bashrc", fault.Protocol},
		{"another folder", "dir .ssh/;file .ssh/authorized_keys", fault.Protocol},
		{"a name that differs in case only", "file Report", fault.Protocol},
		{"contents where a thing was asked for", "dir ./;file .bashrc", fault.Protocol},
		{"a dot that is a file", "file .;file ../.bashrc", fault.Protocol},
		{"a path upwards below a dot", "dir ./;file ../.bashrc", fault.Protocol},
		{"a path upwards", "dir report/;file report/../../.bashrc", fault.Protocol},
		{"a path upwards that stays inside", "dir report/;file report/../report/x", fault.Protocol},
		{"an absolute path", "dir report/;file /report/x", fault.Protocol},
		{"an absolute path below", "dir report/;file report//etc/x", fault.Protocol},
		{"a dot on the way", "dir report/;file report/./x", fault.Protocol},
		{"a sibling", "dir report/;file report2", fault.Protocol},
		{"a sibling of like name", "dir report/;file reportx/x", fault.Protocol},
		{"a first name upwards", "file ../.bashrc", fault.Protocol},
		{"a first name that is the parent", "dir ..", fault.Protocol},
		{"a first name of two parts", "file report/x", fault.Protocol},
		{"a first name that is absolute", "file /report", fault.Protocol},
		{"a first thing that is a link", "link report ../.ssh;file report/authorized_keys", fault.Protocol},
		{"a file that becomes a folder", "file report;file report/x", fault.LocalFile},
		{"through a link that came", "dir report/;link report/x ../.ssh;file report/x/authorized_keys", fault.Protocol},
		{"through an absolute link", "dir report/;link report/x /;file report/x/tmp/evil", fault.Protocol},
		{"through a link inside", "dir report/;dir report/a/;link report/x a;file report/x/b", fault.Protocol},
		{"a link that is then a folder", "dir report/;link report/x ../.ssh;dir report/x/;file report/x/authorized_keys", fault.Protocol},
		{"a link that is then a file", "dir report/;link report/x ../../.bashrc;file report/x", fault.Protocol},
		{"a folder that is then a link", "dir report/;dir report/x/;link report/x ../.ssh", fault.Protocol},
		{"a folder that is left and entered again", "dir report/;dir report/a/;dir report/b/;file report/a/x", fault.Protocol},
		{"without its folder", "dir report/;file report/a/b/c", fault.Protocol},
		{"the root again", "dir report/;dir report/", fault.Protocol},
		{"through a link that was here", "dir report/;dir report/in/;file report/in/authorized_keys", ""},
		{"a hard link", "dir report/;hard report/h ../../.bashrc", fault.Protocol},
		{"a hard link to what came", "dir report/;file report/a;hard report/h report/a", fault.Protocol},
		{"a pipe", "dir report/;fifo report/p", fault.Protocol},
		{"a name twice", "dir report/;file report/a;file report/a", fault.Protocol},
		{"a link to nothing", "dir report/;link report/a", fault.Protocol},
		{"a very long way", "dir report/;file report/" + strings.Repeat("a/", 2100) + "x", fault.Protocol},
		{"setuid", "file report", ""},
	} {
		for form, dst := range map[string]string{"into": "dl", "new": "dl/new"} {
			t.Run(tt.name+" "+form, func(t *testing.T) {
				w := newWorld(t)
				target := w.home("dl/report")
				if form == "new" {
					target = w.home("dl/new")
				}
				_, err := parcel.UnpackAsked(t.Context(), bytes.NewReader(stream(t, strings.Split(tt.in, ";")...)),
					"logs/report", w.home(dst), parcel.Options{Side: fault.LocalFile})
				kind := fault.Of(err)
				if form == "new" && (kind == "" || kind == fault.Protocol) {
					kind = tt.want // under a name that was given here, the sender's does not matter
				}
				if kind != tt.want && !(tt.want == "" && kind == fault.LocalFile) {
					t.Errorf("got %v, want a fault of kind %q", err, tt.want)
				}
				if diff := w.unharmed(target); diff != "" {
					t.Errorf("outside of %s (-before +after):\n%s", target, diff)
				}
				if err := decent(target); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// What a name may be called by its sender.
func TestTheNameIsThatOfTheRequest(t *testing.T) {
	for _, tt := range []struct {
		asked, sent string
		ok          bool
	}{
		{"report", "report", true},
		{"/var/log/report", "report", true},
		{"~/report", "report", true},
		{"a/b/../report", "report", true},
		{"report/", "report", true},
		{`C:\work\report`, "report", true},
		{`C:\work\report\`, "report", true},
		{`odd\name`, `odd\name`, true},
		{"report", ".bashrc", false},
		{"var/report", "var", false},
		{"report/x", "report", false},
		{"", "report", false},
		{"~", "bob", false},
		{"..", "home", false},
		{"a/..", "bob", false},
		{"report/.", ".", true},
		{".", ".", true},
		{"/", ".", true},
		{`C:\`, ".", true},
		{`report\.`, ".", true},
		{"report", ".", false},
		{"~", ".", false},
		{"..", ".", false},
		{"", ".", false},
		{"C:", ".", false},
		{"report/.", "report", false},
	} {
		dst := t.TempDir()
		_, err := parcel.UnpackAsked(t.Context(), bytes.NewReader(stream(t, "dir "+tt.sent+"/", "file "+strings.TrimPrefix(tt.sent+"/x", "./"))),
			tt.asked, dst, parcel.Options{Side: fault.LocalFile})
		if tt.ok && err != nil || !tt.ok && !fault.Is(err, fault.Protocol) {
			t.Errorf("asked for %q, sent %q: got %v, want it taken: %v", tt.asked, tt.sent, err, tt.ok)
		}
		if left, rerr := os.ReadDir(dst); rerr != nil || !tt.ok && len(left) > 0 {
			t.Errorf("asked for %q, sent %q: left %v, %v", tt.asked, tt.sent, left, rerr)
		}
	}
}

// A few bytes do not become a large file: holes are sent, not announced.
func TestSparseFilesAreRefused(t *testing.T) {
	var old bytes.Buffer
	w := tar.NewWriter(&old)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "report", Size: 512, Mode: 0o600, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	b := append(old.Bytes(), make([]byte, 512+1024)...)
	gnu := bytes.Clone(b) // as GNU's tar -S writes it: one piece at 1 GiB less 512
	gnu[156] = tar.TypeGNUSparse
	copy(gnu[386:], "07777777000\x00"+"00000001000\x00")
	copy(gnu[483:], "10000000000\x00")
	checksum(gnu)
	var pax bytes.Buffer // and as its --format=posix does
	record := func(k, v string) string {
		for n := len(k) + len(v) + 4; ; n++ {
			if s := fmt.Sprintf("%d %s=%s\n", n, k, v); len(s) == n {
				return s
			}
		}
	}
	records := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") +
		record("GNU.sparse.name", "report") + record("GNU.sparse.realsize", "1073741824")
	x := make([]byte, 1024)
	copy(x, b[:512])
	x[156] = tar.TypeXHeader
	copy(x[124:], fmt.Sprintf("%011o\x00", len(records)))
	copy(x[512:], records)
	checksum(x)
	body := append(bytes.Clone(b[:512]), make([]byte, 512+1024)...)
	copy(body[512:], "1\n1073741824\n0\n")
	pax.Write(x)
	pax.Write(body)
	for name, in := range map[string][]byte{"gnu": gnu, "pax": pax.Bytes()} {
		dst := t.TempDir()
		h, err := tar.NewReader(bytes.NewReader(in)).Next()
		if err != nil || h.Size != 1<<30 {
			t.Fatalf("%s: the test's own file is %+v, %v", name, h, err)
		}
		_, err = parcel.UnpackAsked(t.Context(), bytes.NewReader(in), "report", dst, parcel.Options{Side: fault.LocalFile})
		if !fault.Is(err, fault.Protocol) || !strings.Contains(err.Error(), "sparse") {
			t.Errorf("%s: got %v, want a Protocol fault", name, err)
		}
		if left, err := os.ReadDir(dst); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

func checksum(header []byte) {
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header[:512] {
		sum += int(c)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// A size that is announced and does not come leaves nothing.
func TestAnAnnouncedSizeIsNotBelieved(t *testing.T) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "report", Size: 1 << 50, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	buf.WriteString("little")
	dst := t.TempDir()
	if _, err := parcel.Unpack(t.Context(), &buf, dst, parcel.Options{Side: fault.LocalFile}); !fault.Is(err, fault.Protocol) {
		t.Errorf("got %v, want a Protocol fault", err)
	}
	if left, err := os.ReadDir(dst); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Get holds a machine to what was asked, over a connection.
func TestAMachineCannotAnswerWithSomethingElse(t *testing.T) {
	w := newWorld(t)
	near, far := net.Pipe()
	conn := wire.NewConn(near)
	defer conn.Close()
	done := make(chan error, 1)
	go func() {
		peer := wire.NewConn(far)
		defer peer.Close()
		enc, err := zstd.NewWriter(nil)
		if err == nil {
			err = peer.Respond(struct{}{}, nil)
		}
		if err == nil {
			err = peer.SendBytes(128, enc.EncodeAll(stream(t, "file .bashrc"), nil))
		}
		done <- err
	}()
	_, err := parcel.Get(t.Context(), conn, w.home(""), parcel.Options{Side: fault.LocalFile, Asked: "~/report.txt"})
	if !fault.Is(err, fault.Protocol) || !strings.Contains(err.Error(), `".bashrc"`) {
		t.Errorf("got %v, want a Protocol fault that names .bashrc", err)
	}
	if diff := w.unharmed("-"); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if err := <-done; err != nil {
		t.Errorf("machine: %v", err)
	}
}

// fresh makes the target's folder as it was, for fuzzing: a world is made once.
func (w *world) fresh(tb testing.TB) {
	tb.Helper()
	for _, name := range []string{"dl/report", "dl/new"} {
		unseal(w.home(name))
		if err := os.RemoveAll(w.home(name)); err != nil {
			tb.Fatal(err)
		}
	}
}

// unseal lets everything below path be removed again.
func unseal(path string) {
	_ = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return err
	})
}

// fuzzed unpacks in each form and looks at the world.
func (w *world) fuzzed(t *testing.T, in []byte) {
	t.Helper()
	w = &world{tb: t, top: w.top, before: w.before}
	for dst, target := range map[string]string{"dl": "dl/report", "dl/new": "dl/new"} {
		w.fresh(t)
		_, err := parcel.UnpackAsked(t.Context(), bytes.NewReader(in), "logs/report", w.home(dst), parcel.Options{Side: fault.LocalFile})
		if err != nil && fault.Of(err) == fault.Internal {
			t.Errorf("an error without a kind: %v", err)
		}
		if diff := w.unharmed(w.home(target)); diff != "" {
			t.Errorf("outside of %s (-before +after):\n%s", target, diff)
		}
		if err := decent(w.home(target)); err != nil {
			t.Error(err)
		}
	}
}

// FuzzUnpack: whatever a machine sends, nothing outside of the target changes.
func FuzzUnpack(f *testing.F) {
	f.Add(stream(f, "dir report/", "file report/b", "link report/c ../..", "file report/c/d"))
	f.Add(stream(f, "file report"))
	f.Add(stream(f, "dir ./", "file x"))
	w := fuzzWorld(f)
	f.Fuzz(func(t *testing.T, data []byte) { w.fuzzed(t, data) })
}

// FuzzEntries is FuzzUnpack for streams that are whole: lines are entries.
func FuzzEntries(f *testing.F) {
	for _, s := range []string{
		"dir report/\nlink report/x ../.ssh\nfile report/x/authorized_keys", "file report\nfile ../.bashrc", "dir ./\nfile ../.bashrc",
		"dir report/\ndir report/a/\nlink report/a/b ..\ndir report/a/b/\nfile report/a/b/c\nhard report/h ../.bashrc\nfifo report/p", "file .bashrc",
	} {
		f.Add(s)
	}
	w := fuzzWorld(f)
	f.Fuzz(func(t *testing.T, s string) { w.fuzzed(t, stream(t, strings.Split(s, "\n")...)) })
}

// fuzzWorld has nothing at the targets, so that each input finds the same.
func fuzzWorld(f *testing.F) *world {
	f.Helper()
	w := newWorld(f)
	w.fresh(f)
	w.before = w.see("")
	f.Cleanup(func() { unseal(w.top) })
	return w
}

func TestOnlyTimesThatTarCanSayAreSet(t *testing.T) {
	dst := t.TempDir()
	if _, err := parcel.Unpack(t.Context(), bytes.NewReader(stream(t, "dir a/", "file a/b")), dst, parcel.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "a/b"} {
		info, err := os.Lstat(filepath.Join(dst, name))
		if err != nil || !info.ModTime().Equal(then.Truncate(time.Microsecond)) && !info.ModTime().Equal(then) {
			t.Errorf("%s: %v, %v, want the time %v", name, info.ModTime(), err, then)
		}
	}
}
