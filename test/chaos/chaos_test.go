//go:build unix

// Package chaos breaks the engine at random and looks at what is left: the
// connection at random bytes, the client, the agent and the machine at random
// moments. Each case is drawn from a seed that its name tells, so a failure can be
// had again with -run.
package chaos

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/program"
	"outrigger.dev/outrigger/test/soak"
	"outrigger.dev/outrigger/test/sshd"
)

var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	// The cases mostly wait, for a connection to come back.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	var err error
	if bin, err = os.MkdirTemp("", "outrigger-bin-"); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	defer os.RemoveAll(bin)
	if err := os.Chmod(bin, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	if err := program.Build(context.Background(), bin); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	return m.Run()
}

// A place is one user's home here, with a project in it.
type place struct {
	home, project string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{home: t.TempDir()}
	p.project = filepath.Join(p.home, "project")
	if err := os.Mkdir(p.project, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// command is outrigger with these arguments in the project's folder.
func (p *place) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "outrigger"), args...)
	cmd.Dir = p.project
	cmd.Env = append(os.Environ(), "HOME="+p.home, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "OUTRIGGER_STATE_DIR=", "OUTRIGGER_CONFIG=")
	return cmd
}

// configure writes a configuration with one host behind port.
func (p *place) configure(t *testing.T, srv *sshd.Server, port int) {
	t.Helper()
	key := srv.Clients[0].File(t, p.home, "")
	text := fmt.Sprintf(`
default: host
run: {absence: 1m}
providers:
  host:
    ssh:
      hosts:
        - {name: host, address: 127.0.0.1, port: %d, user: %s, slots: 8, keyFiles: [%q], hostKeys: [%q]}
`, port, srv.User, key, srv.HostKeys[0].Line())
	dir := filepath.Join(p.home, ".config", "outrigger")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fill puts random files into the project and returns them.
func (p *place) fill(t *testing.T, rnd *rand.Rand) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for i := range 20 + rnd.IntN(60) {
		name := fmt.Sprintf("d%d/f%d", rnd.IntN(6), i)
		files[name] = content(rnd, rnd.IntN(40<<10))
	}
	files["big"] = content(rnd, 1<<20)
	for name, b := range files {
		path := filepath.Join(p.project, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func content(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// tree reads the project back.
func (p *place) tree(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(p.project, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(p.project, path)
		if err != nil {
			return err
		}
		files[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameTree(t *testing.T, want, got map[string][]byte) {
	t.Helper()
	for name, b := range want {
		if g, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		} else if !bytes.Equal(b, g) {
			t.Errorf("%s: %d bytes that differ from the %d wanted", name, len(g), len(b))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s should not be there", name)
		}
	}
}

// nothingLeft checks that neither side remembers a run.
func (p *place) nothingLeft(t *testing.T, farHome string) {
	t.Helper()
	for _, pattern := range []string{
		filepath.Join(p.home, ".local/state/outrigger/ledger/*"),
		filepath.Join(p.home, ".local/state/outrigger/workspaces/*"),
		filepath.Join(p.home, ".local/state/outrigger/local/*"),
		filepath.Join(farHome, ".outrigger/leases/[^.]*"),
	} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("left behind: %s", strings.Join(left, ", "))
		}
	}
}

// script prints numbered lines on both streams, passes on its input, edits, adds
// and deletes files, and fails with a code of its own.
const script = `#!/bin/sh
i=0
while [ $i -lt 3000 ]; do
  echo "out $i: the quick brown fox jumps over the lazy dog"
  [ $((i % 3)) -ne 0 ] || echo "err $i" >&2
  i=$((i+1))
done
cat >from-stdin
echo appended >>big
mkdir -p d0 && echo new >d0/new
rm -rf d1
exit 7
`

// TestBrokenConnections holds that a run over a connection that breaks, stalls
// and ends at random bytes is the run that it would have been: output exact,
// exit code its own, files equal on both sides, nothing left.
func TestBrokenConnections(t *testing.T) {
	srv := sshd.Start(t, sshd.Options{})
	var out, errs bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&out, "out %d: the quick brown fox jumps over the lazy dog\n", i)
		if i%3 == 0 {
			fmt.Fprintf(&errs, "err %d\n", i)
		}
	}
	for _, seed := range soak.Seeds(t, 200) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			t.Parallel()
			brokenConnection(t, srv, seed, out.Bytes(), errs.Bytes())
		})
	}
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(srv.Home, ".outrigger/leases/[^.]*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left on the machine: %v, %v", left, err)
		}
	})
}

func brokenConnection(t *testing.T, srv *sshd.Server, seed uint64, wantOut, wantErr []byte) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	p := newPlace(t)
	want := p.fill(t, rnd)
	proxy, err := faultproxy.Start(faultproxy.Config{
		Target: fmt.Sprintf("127.0.0.1:%d", srv.Port),
		// A third of the links is narrow: a second and more for the project.
		Link: faultproxy.Link{Delay: time.Duration(rnd.IntN(5)) * time.Millisecond, BytesPerSec: []int64{0, 0, 2 << 20}[rnd.IntN(3)]},
		Plan: faultproxy.Plan{
			Seed: seed, Every: 16<<10 + rnd.Int64N(512<<10), Max: 1 + rnd.IntN(6), Pause: 50 * time.Millisecond,
			Kinds: []faultproxy.Kind{faultproxy.Cut, faultproxy.Finish, faultproxy.Pause},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	}()
	p.configure(t, srv, proxy.Port())
	stdin := content(rnd, rnd.IntN(300<<10))

	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	file := filepath.Join(p.home, "script")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := p.command(ctx, "run", "--quiet", "--script", file)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	err = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Fatalf("exit code %d (%v), want 7; faults: %v; stderr ends:\n%s", code, err, proxy.Faults(), tail(errs.Bytes()))
	}
	if !bytes.Equal(out.Bytes(), wantOut) {
		t.Errorf("stdout has %d bytes, want exactly the %d that were written; faults: %v", out.Len(), len(wantOut), proxy.Faults())
	}
	if got := withoutWarnings(errs.Bytes()); !bytes.Equal(got, wantErr) {
		t.Errorf("stderr has %d bytes, want exactly the %d that were written; faults: %v; it ends:\n%s", len(got), len(wantErr), proxy.Faults(), tail(got))
	}
	want["from-stdin"] = stdin
	want["big"] = append(want["big"], "appended\n"...)
	want["d0/new"] = []byte("new\n")
	for name := range want {
		if strings.HasPrefix(name, "d1/") {
			delete(want, name)
		}
	}
	sameTree(t, want, p.tree(t))
	p.nothingLeft(t, "/nonexistent") // the machine is shared by all seeds and looked at in the end
}

// withoutWarnings takes our own lines out of the command's standard error.
func withoutWarnings(b []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(b) {
		if !bytes.HasPrefix(line, []byte("warning: ")) {
			kept = append(kept, line...)
		}
	}
	return kept
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }
