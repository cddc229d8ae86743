//go:build unix

package transfer_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/worksync/plan"
	"outrigger.dev/outrigger/internal/worksync/transfer"
	"outrigger.dev/outrigger/test/soak"
)

// TestRandomTrees syncs trees of which parts are excluded, in conflict under each policy, of other owners, linked to what
// is outside, and which grow and vanish meanwhile. [TestRandomTreesOfAUser] adds what the user may not read or write.
func TestRandomTrees(t *testing.T) { randomTrees(t) }

// TestRandomTreesOfAUser is TestRandomTrees with files and folders whose modes keep their owner out.
func TestRandomTreesOfAUser(t *testing.T) {
	if !asUser(t) {
		randomTrees(t)
	}
}

func randomTrees(t *testing.T) {
	t.Helper()
	noGoroutines(t)
	for _, seed := range soak.Seeds(t, 12) {
		t.Run(soak.Name(seed), func(t *testing.T) {
			t.Parallel()
			f := newForest(t, seed)
			for f.round = range 4 {
				f.play()
				if t.Failed() {
					t.Logf("round %d: excluded %q, policy %v, left: %q", f.round, f.exclude, f.prefer, f.told)
					return
				}
			}
		})
	}
}

// A forest is a pair whose sides are edited at random, and what is known of it.
type forest struct {
	*pair
	t       *testing.T
	r       *rand.Rand
	round   int
	rules   []rule
	base    world    // what both sides last had alike
	told    []string // what was left, and why
	outside string
	twin    string // a file outside of the folder that is one of its files, too
}

func newForest(t *testing.T, seed uint64) *forest {
	f := &forest{pair: newPair(t), t: t, r: rand.New(rand.NewPCG(seed, 3)), base: world{}}
	f.believe = true // edits delete what they like
	f.prefer = []plan.Prefer{plan.Neither, plan.Neither, plan.Near, plan.Far, plan.Both}[f.r.IntN(5)]
	for range f.r.IntN(4) {
		f.rules = append(f.rules, someRules[f.r.IntN(len(someRules))])
	}
	for _, rule := range f.rules {
		f.exclude = append(f.exclude, rule.pattern)
	}
	f.outside = filepath.Join(t.TempDir(), "outside")
	must(t, os.Mkdir(f.outside, 0o755))
	f.twin = filepath.Join(f.outside, "twin")
	t.Cleanup(func() { f.open(f.near); f.open(f.far) }) // so that they can be removed
	edit(t, f.r, f.near, 30)
	f.mustUp()
	f.base = f.synced(f.near)
	return f
}

// A rule is a pattern with what it means, told apart from how the product reads it.
type rule struct {
	pattern string
	glob    string // of package path
	whole   bool   // of the whole path, not of a name
	folders bool
	not     bool
}

var someRules = []rule{
	{pattern: "c", glob: "c"},
	{pattern: "/a", glob: "a", whole: true},
	{pattern: "*.b", glob: "*.b"},
	{pattern: "b/", glob: "b", folders: true},
	{pattern: "a/c", glob: "a/c", whole: true},
	{pattern: "a-*", glob: "a-*"},
	{pattern: "!c", glob: "c", not: true},
	{pattern: "/b/[ab]", glob: "b/[ab]", whole: true},
	{pattern: "\xfe", glob: "\xfe"},
	{pattern: "!/a/a-b", glob: "a/a-b", whole: true, not: true},
	{pattern: "[ac]", glob: "[ac]"},
}

// excluded tells whether a side leaves a path alone, as a folder or not.
func (f *forest) excluded(w world, p string) bool {
	for at := p; at != "."; at = path.Dir(at) {
		folder := at != p || w[p].kind == "dir"
		for _, rule := range slices.Backward(f.rules) {
			subject := path.Base(at)
			if rule.whole {
				subject = at
			}
			if ok, err := path.Match(rule.glob, subject); err != nil || !ok || rule.folders && !folder {
				continue
			}
			if !rule.not {
				return true
			}
			break
		}
	}
	return false
}

// play is one round: edits, two operations, and a look at what came of them.
func (f *forest) play() {
	f.open(f.near)
	f.open(f.far)
	for _, root := range []string{f.near, f.far} {
		edit(f.t, f.r, root, f.r.IntN(8))
		f.linkAndOwn(root)
	}
	f.restless()
	linked := f.linked()
	f.shut(f.near)
	f.shut(f.far)
	before := [2]world{f.see(f.near), f.see(f.far)}
	closed := [2]map[string]bool{shutIn(before[0]), shutIn(before[1])}
	owners := [2]map[string]int{f.owners(f.near), f.owners(f.far)}
	twin, _ := os.ReadFile(f.twin)

	named := map[string]bool{}
	ops := []func(*transfer.Session, context.Context) (transfer.Report, error){(*transfer.Session).Up, (*transfer.Session).Back}
	if f.r.IntN(2) == 0 {
		slices.Reverse(ops)
	}
	for i, op := range ops {
		rep, err := f.do(i == 0, op)
		if (err != nil) != (len(rep.Left) > 0) || err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.PathsLeft) {
			f.t.Fatalf("round %d: %v, with %v left", f.round, err, rep.Left)
		}
		for _, l := range rep.Left {
			named[l.Path] = true
			f.told = append(f.told, fmt.Sprintf("%d %d %+v", f.round, i, l))
		}
	}
	after := [2]world{f.see(f.near), f.see(f.far)}
	f.judge(&verdict{named: named, linked: linked, closed: closed, before: before, after: after})
	f.judgeOwners(owners, before, after)
	if now, _ := os.ReadFile(f.twin); string(now) != string(twin) {
		f.t.Errorf("round %d: a file outside was written through a link", f.round)
	}
	f.quiet()
	f.agree(len(named)+len(closed[0])+len(closed[1]) > 0)
}

// agree makes both sides alike where they are not, by hand as a person does, and notes what they agree on.
func (f *forest) agree(left bool) {
	f.open(f.near)
	f.open(f.far)
	if left || !maps.Equal(f.synced(f.near), f.synced(f.far)) {
		must(f.t, os.RemoveAll(f.far))
		must(f.t, exec.Command("cp", "-a", f.near, f.far).Run())
	}
	if rep := f.mustUp(); rep.Files > 0 { // also of the modes that open gave both sides
		f.t.Errorf("round %d: settled by hand, but: %+v", f.round, rep)
	}
	noTemp(f.t, f.near, f.far)
	f.base = f.synced(f.near)
}

// synced is what is not excluded.
func (f *forest) synced(root string) world {
	w := f.see(root)
	maps.DeleteFunc(w, func(p string, _ thing) bool { return f.excluded(w, p) })
	return w
}

// do is one operation. The first has its ground move: what is in the restless folder grows and goes while it is under way.
func (f *forest) do(moves bool, op func(*transfer.Session, context.Context) (transfer.Report, error)) (rep transfer.Report, err error) {
	var wrap func(net.Conn) net.Conn
	if moves && f.r.IntN(2) == 0 {
		wrap = func(c net.Conn) net.Conn { return &mover{Conn: c, at: 1 + f.r.Int64N(6), move: f.move} }
	}
	err = f.session(wrap, func(ctx context.Context, s *transfer.Session) (err error) {
		rep, err = op(s, ctx)
		return err
	})
	return rep, err
}

// A mover does something at one of a connection's writes.
type mover struct {
	net.Conn
	at, seen int64
	move     func()
}

func (m *mover) Write(b []byte) (int, error) {
	if atomic.AddInt64(&m.seen, 1) == m.at {
		m.move()
	}
	return m.Conn.Write(b)
}

// restless prepares it.
func (f *forest) restless() {
	dir := filepath.Join(f.near, restDir)
	must(f.t, os.MkdirAll(dir, 0o755))
	for i := range 3 {
		must(f.t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("gone%d", i)), []byte(fmt.Sprint(f.round)), 0o644))
	}
}

func (f *forest) move() {
	dir := filepath.Join(f.near, restDir)
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(f.t, err)
	_, err = log.WriteString(strings.Repeat(fmt.Sprintf("round %d\n", f.round), 1+f.round*4000))
	must(f.t, err)
	must(f.t, log.Close())
	must(f.t, os.Remove(filepath.Join(dir, fmt.Sprintf("gone%d", f.round%3))))
	must(f.t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("new%d", f.round)), []byte("new"), 0o644))
}

// quiet holds that what moved is right after one more sync in which nothing moves.
func (f *forest) quiet() {
	f.t.Helper()
	near, err := os.ReadFile(filepath.Join(f.near, restDir, "log"))
	if err != nil && !os.IsNotExist(err) {
		f.t.Error(err)
	}
	far, err := os.ReadFile(filepath.Join(f.far, restDir, "log"))
	if err != nil && !os.IsNotExist(err) || !strings.HasPrefix(string(near), string(far)) {
		f.t.Errorf("round %d: the log that grew has %d bytes there that are not the first of the %d here, or %v", f.round, len(far), len(near), err)
	}
	if _, err := f.up(); err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.PathsLeft) {
		f.t.Errorf("round %d: %v", f.round, err)
	}
	here, there := f.see(filepath.Join(f.near, restDir)), f.see(filepath.Join(f.far, restDir))
	if !maps.Equal(here, there) {
		f.t.Errorf("round %d: what moved is %d things here and %d there, which differ", f.round, len(here), len(there))
	}
}
