//go:build linux

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"outrigger.dev/outrigger/test/processes"
	"outrigger.dev/outrigger/test/soak"
)

// A client is a user with a folder and one run.
type client struct {
	*place
	site    *site
	id      int
	prelude string // of its script

	before    map[string][]byte
	cmd       *exec.Cmd
	out, errs bytes.Buffer
}

// busy keeps a run going for a while, with children that leave its session, and changes files all the time. Of copies that
// are killed in the middle it says so. Who holds the site's lock is who has the slot.
const busy = `i=0
while [ $i -lt 40 ]; do
  echo $i >counter
  cp big big.$((i %% 5)) || exit 9
  echo "line $i: the quick brown fox jumps over the lazy dog"
  [ $((i %% 4)) -ne 0 ] || echo "err $i" >&2
  sleep 0.02 || exit 9
  i=$((i+1))
done
rm -rf d1
%s
`

// script is what the client runs. Half of the children that stay hold the output open.
func (c *client) script(rnd *rand.Rand) string {
	text := "#!/bin/sh\n" + c.prelude
	ended := ""
	if m := c.site.marks; m != "" {
		text += fmt.Sprintf("exec 9>>%[1]s/lock; flock -n 9 || echo %[2]d >>%[1]s/twice\necho \"$TMPDIR\" >>%[1]s/tmpdir\n", m, c.id)
		ended = fmt.Sprintf("echo >%s/ended-%d", m, c.id)
	}
	if rnd.IntN(2) == 0 {
		text += "setsid sleep 300 &\n"
	} else {
		text += "setsid sleep 300 >/dev/null 2>&1 &\n"
	}
	return text + fmt.Sprintf(busy, ended)
}

func wanted() (out, errs string) {
	for i := range 40 {
		out += fmt.Sprintf("line %d: the quick brown fox jumps over the lazy dog\n", i)
		if i%4 == 0 {
			errs += fmt.Sprintf("err %d\n", i)
		}
	}
	return out, errs
}

func (c *client) start(ctx context.Context, t *testing.T, rnd *rand.Rand) {
	t.Helper()
	c.before = c.fill(t, rnd)
	file := filepath.Join(c.home, "script")
	if err := os.WriteFile(file, []byte(c.script(rnd)), 0o644); err != nil {
		t.Fatal(err)
	}
	c.cmd = c.command(ctx, "run", "--quiet", "--at", c.at(), "--script", file)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errs
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// at is a path outside of the machine's folders that runs have their files appear at.
func (c *client) at() string { return filepath.Join(c.home, "at", "work") }

func (c *client) wait(t *testing.T) {
	t.Helper()
	if err := c.cmd.Wait(); c.cmd.ProcessState == nil {
		t.Errorf("client %d cannot be waited for: %v", c.id, err)
	}
}

// judge looks at how the run ended, gets what it left, and compares everything with what the command did.
func (c *client) judge(ctx context.Context, t *testing.T, hit *hits) {
	t.Helper()
	code := c.cmd.ProcessState.ExitCode()
	wantOut, wantErrs := wanted()
	if got := c.out.String(); !strings.HasPrefix(wantOut, got) {
		t.Errorf("stdout has %d bytes that are not the first of the %d that were written; it ends:\n%s", len(got), len(wantOut), tail(c.out.Bytes()))
	}
	switch {
	case code == 0:
		if c.out.String() != wantOut {
			t.Errorf("exit code 0, and stdout has %d bytes of %d", c.out.Len(), len(wantOut))
		}
		if got := string(withoutWarnings(c.errs.Bytes())); got != wantErrs && hit.of("script") == 0 {
			t.Errorf("exit code 0, and stderr is %q", got)
		}
	case code == -1 && hit.of("client") > 0:
	case code == 125 && strings.Contains(c.errs.String(), "outrigger: "):
	case (code == 128+int(syscall.SIGKILL) || code == 9) && hit.of("script") > 0:
	default:
		t.Errorf("exit code %d; hits: %v; stderr ends:\n%s", code, hit.count, tail(c.errs.Bytes()))
	}
	gone := c.getRest(ctx, t, code, hit)
	_, err := os.Stat(filepath.Join(c.site.marks, fmt.Sprintf("ended-%d", c.id)))
	c.compare(t, code == 0 || c.site.marks != "" && err == nil && !gone)
	if t.Failed() {
		t.Logf("exit code %d; hits: %v; stderr ends:\n%s", code, hit.count, tail(c.errs.Bytes()))
	}
}

// getRest fetches what is not here. It tells that the machine is gone with it, which only who killed the machine may find.
func (c *client) getRest(ctx context.Context, t *testing.T, code int, hit *hits) (gone bool) {
	t.Helper()
	list := c.fetchable(ctx, t)
	if code == 0 && len(list) > 0 {
		t.Errorf("exit code 0, but not all results are here: %v", list)
	}
	for _, r := range list {
		out, err := c.command(ctx, "fetch", r.ID).CombinedOutput()
		if err == nil {
			continue
		}
		gone = true
		if !c.machineHit(hit) || !bytes.Contains(out, []byte("outrigger: ")) {
			t.Errorf("fetch %s: %v\n%s", r.ID, err, tail(out))
		}
		if out, err := c.command(ctx, "vm", "delete", r.Machine).CombinedOutput(); err != nil {
			t.Errorf("vm delete %s: %v\n%s", r.Machine, err, out)
		}
	}
	return gone || code == 125 && c.machineHit(hit)
}

// machineHit tells whether a machine may be gone: what serves it was killed, and it is none that stays.
func (c *client) machineHit(hit *hits) bool { return c.site.server == nil && hit.of("server") > 0 }

var number = regexp.MustCompile(`^([0-9]+\n)?$`)

// compare holds the folder against what was there, and what the command made of it if it came to its end.
func (c *client) compare(t *testing.T, ended bool) {
	t.Helper()
	tree := c.tree(t)
	big := c.before["big"]
	for name, want := range c.before {
		got, ok := tree[name]
		switch {
		case strings.HasPrefix(name, "d1/") && (ended || !ok):
			if ok {
				t.Errorf("%s was deleted there, and is here", name)
			}
		case !ok || !bytes.Equal(got, want):
			t.Errorf("%s: there %t, %d bytes, want the %d that nobody changed", name, ok, len(got), len(want))
		}
	}
	for name, got := range tree {
		_, known := c.before[name]
		switch {
		case known:
		case name == "counter" && number.Match(got):
		case strings.HasPrefix(name, "big.") && bytes.HasPrefix(big, got): // as far as the copy was when the run was ended
		default:
			t.Errorf("%s: %d bytes that nobody wrote", name, len(got))
		}
	}
	if !ended {
		return
	}
	if got := string(tree["counter"]); got != "39\n" {
		t.Errorf("counter is %q, want what the command wrote last", got)
	}
	for i := range 5 {
		if got := tree[fmt.Sprintf("big.%d", i)]; !bytes.Equal(got, big) {
			t.Errorf("big.%d: %d bytes, want all %d that the command wrote", i, len(got), len(big))
		}
	}
}

// A fetchable run is one whose results are not all here.
type fetchable struct {
	ID      string `json:"id"`
	Machine string `json:"machine"`
}

func (c *client) fetchable(ctx context.Context, t *testing.T) []fetchable {
	t.Helper()
	var list []fetchable
	c.jsonOf(ctx, t, &list, "fetch", "--output", "json")
	return list
}

func (c *client) jsonOf(ctx context.Context, t *testing.T, to any, args ...string) {
	t.Helper()
	cmd := c.command(ctx, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, errs.Bytes())
	}
	if err := json.Unmarshal(out, to); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// nothingLeft lets every client collect what is left, and looks whether it did.
func (s *site) nothingLeft(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, c := range s.clients {
		c.collect(ctx, t)
		if _, err := os.Lstat(filepath.Dir(c.at())); !os.IsNotExist(err) {
			t.Errorf("%s is left, or %v", c.at(), err)
		}
	}
	for _, c := range s.clients {
		if left := c.left(t, s.farHome()); len(left) > 0 {
			t.Errorf("left behind: %s", strings.Join(left, ", "))
		}
	}
	if s.proxy != nil {
		s.proxy.Cut() // at the latest now the host knows of lines that vanished
	}
	// A daemon on a host that stays waits some minutes for the next run.
	stays := func(p processes.Process) bool { return s.server != nil && kindOf(p) == "daemon" }
	processes.None(t, func(p processes.Process) bool { return !stays(p) }, s.roots...)
	if s.marks == "" {
		return
	}
	if b, err := os.ReadFile(filepath.Join(s.marks, "twice")); err == nil {
		t.Errorf("the slot was lent out while somebody had it, to %q", b)
	}
	tmp, _ := os.ReadFile(filepath.Join(s.marks, "tmpdir")) // none where no script began
	for dir := range strings.FieldsSeq(string(tmp)) {
		if _, err := os.Lstat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left, or %v", dir, err)
		}
	}
}

// collect runs gc. The line may still break under it, which it says, and what a client sent just before it was killed may
// still be on its way: then it is for the next gc. A line that vanishes several times in a row costs each gc the 45 s after
// which a connection without a sign of life is given up, so each has its own time.
func (c *client) collect(ctx context.Context, t *testing.T) {
	t.Helper()
	const tries, each = 10, 2 * time.Minute
	for try := 1; ; try++ {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), each)
		out, err := c.command(limited, "gc").CombinedOutput()
		cancel()
		switch {
		case err == nil && len(c.left(t, c.site.farHome())) == 0:
			return
		case err != nil && (c.site.proxy == nil || !bytes.Contains(out, []byte("faults.md#unreachable"))):
			t.Errorf("gc: %v\n%s", err, tail(out))
			return
		case len(c.site.clients) > 1 && err == nil: // it may be the other's
			return
		case try == tries:
			t.Errorf("gc, %d times: %v\n%s", tries, err, tail(out))
			return
		}
		soak.Count(t, "gc again")
		c.sessionsEnd(ctx)
	}
}

// sessionsEnd waits until no session is left on the host, or for some seconds: one on a line that has vanished stays.
func (c *client) sessionsEnd(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && slices.ContainsFunc(processes.Of(c.site.roots...), func(p processes.Process) bool { return kindOf(p) == "session" }) {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
