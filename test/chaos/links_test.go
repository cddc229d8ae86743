//go:build unix

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outrigger.dev/outrigger/test/faultproxy"
	"outrigger.dev/outrigger/test/soak"
	"outrigger.dev/outrigger/test/sshd"
)

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
	p.writeConfig(t, hostConfig(t, srv, proxy.Port(), 8))
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
	// The machine is shared by all seeds and looked at in the end.
	if left := p.left(t, "/nonexistent"); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
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
