package ledger_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/ledger"
	"outrigger.dev/outrigger/internal/machine"
)

// TestMain doubles as the process that dies while it holds a record.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEDGER_TEST_HOLD"); dir != "" {
		l, err := ledger.Open(dir)
		if err == nil {
			_, err = l.Add(ledger.Record{Name: "m1", Client: os.Getpid()})
		}
		if err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString("held\n")
		select {}
	}
	os.Exit(m.Run())
}

func open(t *testing.T, dir string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func names(t *testing.T, l *ledger.Ledger) []machine.Name {
	t.Helper()
	recs, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	var out []machine.Name
	for _, r := range recs {
		out = append(out, r.Name)
	}
	return out
}

func TestRecordLivesUntilRemoved(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	want := ledger.Record{Name: "m1", Provider: "local", Owner: "me", Created: time.Unix(1, 0).UTC()}
	e, err := l.Add(want)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Add(want); !fault.Is(err, fault.Busy) && !fault.Is(err, fault.NameTaken) {
		t.Errorf("second Add: got %v, want a fault of kind Busy or NameTaken", err)
	}
	got, err := open(t, dir).Get("m1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if err := e.Remove(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "ledger"))
	if err != nil || len(left) != 0 {
		t.Errorf("after Remove: %v, %v; want an empty folder", left, err)
	}
	if _, err := l.Hold("m1", false); !fault.Is(err, fault.UnknownMachine) {
		t.Errorf("Hold of a removed record: got %v, want UnknownMachine", err)
	}
}

func TestHoldSharesOnlyAmongSharers(t *testing.T) {
	dir := t.TempDir()
	e, err := open(t, dir).Add(ledger.Record{Name: "m1", Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Release(); err != nil {
		t.Fatal(err)
	}
	a, err := open(t, dir).Hold("m1", true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(t, dir).Hold("m1", true)
	if err != nil {
		t.Fatalf("second sharer: %v", err)
	}
	if _, err := open(t, dir).Hold("m1", false); !fault.Is(err, fault.Busy) {
		t.Errorf("exclusive hold of a shared record: got %v, want Busy", err)
	}
	for _, e := range []*ledger.Entry{a, b} {
		if err := e.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open(t, dir).Hold("m1", false); err != nil {
		t.Errorf("exclusive hold after all let go: %v", err)
	}
}

func TestKilledClientLosesItsHold(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEDGER_TEST_HOLD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held\n" {
		t.Fatalf("holder said %q, %v", line, err)
	}
	l := open(t, dir)
	if _, err := l.Hold("m1", false); !fault.Is(err, fault.Busy) {
		t.Errorf("while the client lives: got %v, want Busy", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed: its status says nothing
	e, err := l.Hold("m1", false)
	if err != nil {
		t.Fatalf("after the client was killed: %v", err)
	}
	if err := e.Remove(); err != nil {
		t.Fatal(err)
	}
}

func TestOneOwnerForManyProcesses(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	owners := map[machine.Owner]bool{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			l, err := ledger.Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			o, err := l.Owner()
			if err != nil || o == "" {
				t.Errorf("owner %q, %v", o, err)
			}
			mu.Lock()
			owners[o] = true
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(owners) != 1 {
		t.Errorf("got owners %v, want one", owners)
	}
}

func TestTidyRemovesOnlyLeftovers(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if _, err := l.Add(ledger.Record{Name: "held"}); err != nil {
		t.Fatal(err)
	}
	free, err := l.Add(ledger.Record{Name: "free"})
	if err != nil {
		t.Fatal(err)
	}
	if err := free.Release(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{".owner-1", "ghost.lock", "ghost.tmp", "free.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, "ledger", n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Tidy(); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if diff := cmp.Diff([]string{"free.json", "free.lock", "held.json", "held.lock"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]machine.Name{"free", "held"}, names(t, l)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestConcurrentAddsHaveOneWinner(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	won := 0
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			l, err := ledger.Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := l.Add(ledger.Record{Name: "m1"}); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else if !fault.Is(err, fault.Busy) && !fault.Is(err, fault.NameTaken) {
				t.Errorf("loser: %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d processes added the same name, want 1", won)
	}
}

// Nothing of the user's synced files is meant: --exclude, which the kind names otherwise, would not help.
func TestAFullDiskUnderTheLedgerSaysWhatToDo(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		return // only Linux has it
	}
	dir := t.TempDir()
	l := open(t, dir)
	if err := os.Symlink("/dev/full", filepath.Join(dir, "ledger", "m1.tmp")); err != nil {
		t.Fatal(err)
	}
	_, err := l.Add(ledger.Record{Name: "m1"})
	if !fault.Is(err, fault.DiskFull) || !strings.Contains(fault.Remedy(err), "XDG_STATE_HOME") || strings.Contains(fault.Remedy(err), "--exclude") {
		t.Errorf("got %v, remedy %q", err, fault.Remedy(err))
	}
}
